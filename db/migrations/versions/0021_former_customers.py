"""A user whose customer was deleted at Stripe gets another one, and the old one stays known as the user's."""

from db.migrations.sql import run_file

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0021_former_customers.sql")


def downgrade() -> None:
    run_file("0021_former_customers_down.sql")
