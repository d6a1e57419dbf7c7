"""What a subscription's next period costs, as Stripe has it."""

from db.migrations.sql import run_file

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0031_renewal_prices.sql")


def downgrade() -> None:
    run_file("0031_renewal_prices_down.sql")
