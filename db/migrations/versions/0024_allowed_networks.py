"""An API key may name the networks that it is used from; an empty list is any network."""

from db.migrations.sql import run_file

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0024_allowed_networks.sql")


def downgrade() -> None:
    run_file("0024_allowed_networks_down.sql")
