"""What reconciliation has looked at, and what it found."""

from alembic import op

from db.migrations.sql import run_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0008_reconciliation.sql")


def downgrade() -> None:
    op.execute("DROP TABLE reconciliation_differences")
    op.execute("DROP TABLE reconciliation_runs")
    op.execute("DROP INDEX ix_api_keys_bucket")
    op.execute("DROP FUNCTION np_api_key_bucket")
