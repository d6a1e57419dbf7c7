"""The next invoice and the discount of a subscription, and what an open invoice waits for."""

from db.migrations.sql import run_file

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0042_next_invoices.sql")


def downgrade() -> None:
    run_file("0042_next_invoices_down.sql")
