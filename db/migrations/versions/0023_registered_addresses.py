"""A registration keeps the address as it was typed for it: its link goes there."""

from alembic import op

from db.migrations.sql import run_file

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0023_registered_addresses.sql")


def downgrade() -> None:
    op.execute("ALTER TABLE registrations DROP COLUMN email")
