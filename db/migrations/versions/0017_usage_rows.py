"""The outbox names the totals that changed, some together, and not all totals of each licence that reported."""

from db.migrations.sql import run_file

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0017_usage_rows.sql")


def downgrade() -> None:
    run_file("0017_usage_rows_down.sql")
