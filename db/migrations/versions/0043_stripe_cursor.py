"""Reconciliation with Stripe: where its list of events was left, and prices that no plan has."""

from db.migrations.sql import run_file

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0043_stripe_cursor.sql")


def downgrade() -> None:
    run_file("0043_stripe_cursor_down.sql")
