"""Plan changes: what was wished for, what waits for its payment or its day, and what staff gave by hand."""

from alembic import op

from db.migrations.sql import run_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0009_plan_changes.sql")


def downgrade() -> None:
    op.execute("DROP TABLE plan_changes")
    op.execute("DROP TYPE plan_change_direction")
    op.execute(
        "ALTER TABLE subscriptions DROP COLUMN plan_paid_until, DROP COLUMN pending_plan_id,"
        " DROP COLUMN pending_interval, DROP COLUMN pending_from, DROP COLUMN pending_payment_url,"
        " DROP COLUMN mirrored_at"
    )
    op.execute(
        "ALTER TABLE licenses DROP COLUMN limit_overrides, DROP COLUMN extended_until, DROP COLUMN account_order"
    )
