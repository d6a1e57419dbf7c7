"""Changes of the number of licenses that a subscription pays for."""

from db.migrations.sql import run_file

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0044_changes_of_quantity.sql")


def downgrade() -> None:
    run_file("0044_changes_of_quantity_down.sql")
