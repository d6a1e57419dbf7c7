"""Steps after a failed payment, notices before a renewal, and licenses that are over."""

from db.migrations.sql import run_file

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0039_dunning.sql")


def downgrade() -> None:
    run_file("0039_dunning_down.sql")
