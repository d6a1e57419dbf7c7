"""Licences that may pass a limit, kept at hand; and the order in which lists show licences."""

from alembic import op

from db.migrations.sql import run_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0010_overages.sql")


def downgrade() -> None:
    op.execute("DROP TRIGGER note_fallen_limit ON licenses")
    op.execute("DROP TRIGGER note_overage_updated ON license_usage")
    op.execute("DROP TRIGGER note_overage_inserted ON license_usage")
    for function in ("np_note_fallen_limit()", "np_note_overage()", "np_limit_of(licenses, text)"):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP INDEX ix_licenses_created_at")
    op.execute("DROP TABLE overage_candidates")
