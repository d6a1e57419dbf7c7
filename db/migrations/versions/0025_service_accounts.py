"""Service accounts: programs of the seller, with scopes of staff and a secret of their own."""

from db.migrations.sql import run_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0025_service_accounts.sql")


def downgrade() -> None:
    run_file("0025_service_accounts_down.sql")
