"""A change of plan is prorated as of the preview that the customer has seen."""

from db.migrations.sql import run_file

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0036_proration_dates.sql")


def downgrade() -> None:
    run_file("0036_proration_dates_down.sql")
