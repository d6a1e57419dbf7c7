"""An owner's own name for a license; a user's language and time zone."""

from db.migrations.sql import run_file

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0030_labels.sql")


def downgrade() -> None:
    run_file("0030_labels_down.sql")
