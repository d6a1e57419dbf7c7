"""Staff find users by a part of a name or address, and jobs and events by kind and time: indexes for it."""

from db.migrations.sql import run_file

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0029_search.sql")


def downgrade() -> None:
    run_file("0029_search_down.sql")
