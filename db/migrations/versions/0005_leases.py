"""Leases and the public keys to check them with."""

from alembic import op

from db.migrations.sql import run_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0005_leases.sql")


def downgrade() -> None:
    op.execute("DROP TABLE leases")
    op.execute("DROP TABLE lease_keys")
