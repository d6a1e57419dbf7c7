"""What staff need to look after a customer: notes, the state of sign-in and mails, and where keys were used from."""

from db.migrations.sql import run_file

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0027_customer_care.sql")


def downgrade() -> None:
    run_file("0027_customer_care_down.sql")
