"""SQL reads the time through np_now() and np_statement_now(), which a devstack can move."""

from db.migrations.sql import run_file

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0038_clock.sql")


def downgrade() -> None:
    run_file("0038_clock_down.sql")
