"""Customers say to whom their invoices are made out."""

from db.migrations.sql import run_file

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0034_billing_details.sql")


def downgrade() -> None:
    run_file("0034_billing_details_down.sql")
