"""What a checkout is ordered with, the licenses of a subscription, and trials."""

from db.migrations.sql import run_file

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0041_orders.sql")


def downgrade() -> None:
    run_file("0041_orders_down.sql")
