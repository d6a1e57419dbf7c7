"""A usage event is named by its license and the key of its report alone."""

from db.migrations.sql import run_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0018_event_names.sql")


def downgrade() -> None:
    run_file("0018_event_names_down.sql")
