"""A usage report writes its row, and no more than it must besides."""

from alembic import op

from db.migrations.sql import run_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0011_lean_usage.sql")


def downgrade() -> None:
    op.execute("ALTER TABLE license_usage RESET (fillfactor)")
    op.execute("CREATE INDEX ix_usage_events_user_id ON usage_events (user_id)")
    op.execute(
        "ALTER TABLE usage_events ADD CONSTRAINT fk_usage_events_user_id FOREIGN KEY (user_id) REFERENCES users (id)"
    )
    op.execute(
        "ALTER TABLE usage_events ADD CONSTRAINT fk_usage_events_license_id"
        " FOREIGN KEY (license_id) REFERENCES licenses (id)"
    )
