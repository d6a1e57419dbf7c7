"""What staff write to a customer stands beside the reason that they give for themselves."""

from db.migrations.sql import run_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0026_staff_messages.sql")


def downgrade() -> None:
    run_file("0026_staff_messages_down.sql")
