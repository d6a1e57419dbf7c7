"""Reconciliation with Stripe: where its list of events was left, and prices that no plan has."""

from db.migrations.sql import run_file

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0042_stripe_cursor.sql")


def downgrade() -> None:
    run_file("0042_stripe_cursor_down.sql")
