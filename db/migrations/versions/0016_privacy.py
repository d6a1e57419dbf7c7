"""Accounts that were deleted, and by which customer an event of Stripe's is found."""

from alembic import op

from db.migrations.sql import run_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0016_privacy.sql")


def downgrade() -> None:
    """Deleted accounts stay inactive and nameless; only that their owners wished it is not known any more."""
    op.execute("DROP INDEX ix_webhook_events_customer")
    op.execute("DROP FUNCTION np_event_customer(jsonb)")
    op.execute("DROP TRIGGER keep_deleted ON users")
    op.execute("DROP FUNCTION np_keep_deleted()")
    op.execute("ALTER TABLE users DROP COLUMN deleted_at")
