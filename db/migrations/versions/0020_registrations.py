"""A registration's password and names go with the token that its own mail carries."""

from alembic import op

from db.migrations.sql import run_file

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0020_registrations.sql")


def downgrade() -> None:
    op.execute("DROP TABLE registrations")
