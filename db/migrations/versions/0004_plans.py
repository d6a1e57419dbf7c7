"""The three plans."""

from alembic import op

from db.migrations.sql import run_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0004_plans.sql")


def downgrade() -> None:
    op.execute("DELETE FROM plans WHERE id::text LIKE '0198d2f0-0000-7000-8000-%'")
