"""A license is suspended for a set of causes, each with its own end."""

from db.migrations.sql import run_file

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0032_suspension_causes.sql")


def downgrade() -> None:
    run_file("0032_suspension_causes_down.sql")
