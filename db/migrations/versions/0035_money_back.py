"""Refunds and disputes are mirrored, and payments say what became of them."""

from db.migrations.sql import run_file

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0035_money_back.sql")


def downgrade() -> None:
    run_file("0035_money_back_down.sql")
