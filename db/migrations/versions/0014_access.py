"""Where a session is used from, and its end in its owner's hands."""

from alembic import op

from db.migrations.sql import run_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0014_access.sql")


def downgrade() -> None:
    op.execute("REVOKE ALL ON sessions FROM np_customer")
    op.execute("DROP TRIGGER keep_ended ON sessions")
    op.execute("DROP FUNCTION np_keep_ended")
    op.execute("ALTER TABLE sessions DROP COLUMN address, DROP COLUMN last_seen_at")
