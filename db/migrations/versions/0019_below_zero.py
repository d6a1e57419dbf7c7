"""Totals below zero are flagged, and corrected by an event of their own."""

from db.migrations.sql import run_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0019_below_zero.sql")


def downgrade() -> None:
    run_file("0019_below_zero_down.sql")
