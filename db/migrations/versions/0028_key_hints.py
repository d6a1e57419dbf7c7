"""A license shows the last four symbols of its key."""

from db.migrations.sql import run_file

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0028_key_hints.sql")


def downgrade() -> None:
    run_file("0028_key_hints_down.sql")
