"""The seller's policy for unpaid invoices, refunds and disputes is a setting that administrators change."""

from db.migrations.sql import run_file

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0033_billing_settings.sql")


def downgrade() -> None:
    run_file("0033_billing_settings_down.sql")
