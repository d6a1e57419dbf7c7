"""Codes of plans, and the price of a subscription."""

from db.migrations.sql import run_file

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0045_catalog.sql")


def downgrade() -> None:
    run_file("0045_catalog_down.sql")
