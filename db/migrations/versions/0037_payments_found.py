"""Payments are found by their charge, and older ones name their invoice."""

from db.migrations.sql import run_file

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0037_payments_found.sql")


def downgrade() -> None:
    run_file("0037_payments_found_down.sql")
