"""The default partition of payments can be counted; a month that cannot be made keeps no other from being made."""

from alembic import op

from db.migrations.sql import run_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0006_default_partition.sql")


def downgrade() -> None:
    # np_create_payment_partitions stays as it is now: to its callers it differs only in what it survives.
    op.execute("DROP FUNCTION np_payments_in_default_partition()")
