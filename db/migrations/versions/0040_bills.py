"""What invoices add up from: lines, taxes, discounts, balance and credit notes."""

from db.migrations.sql import run_file

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0040_bills.sql")


def downgrade() -> None:
    run_file("0040_bills_down.sql")
