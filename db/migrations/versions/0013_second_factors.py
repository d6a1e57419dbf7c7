"""Second factors, and OAuth clients that act for their owners."""

from alembic import op

from db.migrations.sql import run_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0013_second_factors.sql")


def downgrade() -> None:
    for table in ("oauth_clients", "sign_in_challenges", "recovery_codes", "totp_factors"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE sessions DROP COLUMN amr")
