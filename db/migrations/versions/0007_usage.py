"""Counting that can be added up again, and reservations that end with their reports."""

from alembic import op

from db.migrations.sql import run_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0007_usage.sql")


def downgrade() -> None:
    op.execute("DROP TABLE hold_settlements")
    op.execute("ALTER TABLE license_usage DROP COLUMN events")
    op.execute("ALTER TABLE usage_events DROP COLUMN seq")
