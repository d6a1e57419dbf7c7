"""Versions, outbox triggers, payment partitions: what the database does by itself."""

from alembic import op

from db.migrations.sql import run_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0002_guards.sql")


def downgrade() -> None:
    op.execute("DELETE FROM projection_epoch")
    for table in ("outbox", "licenses", "license_usage", "api_keys", "audit_log"):
        for trigger in ("announce", "raise_version", "project", "project_inserted", "project_updated", "append_only"):
            op.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
    for function in (
        "np_announce_outbox()",
        "np_raise_version()",
        "np_project_license()",
        "np_project_usage()",
        "np_project_api_key()",
        "np_refuse_change()",
        "np_create_payment_partitions(date, integer)",
    ):
        op.execute(f"DROP FUNCTION {function}")
    op.execute(
        "DO $$ DECLARE part regclass; BEGIN"
        " FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'payments'::regclass LOOP"
        " EXECUTE format('DROP TABLE %s', part); END LOOP; END $$"
    )
