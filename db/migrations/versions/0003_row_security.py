"""Roles, grants and row-level security."""

from alembic import op

from db.migrations.sql import run_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0003_row_security.sql")


def downgrade() -> None:
    op.execute(
        "DO $$ DECLARE policy record; BEGIN"
        " FOR policy IN SELECT * FROM pg_policies WHERE schemaname = 'public' LOOP"
        " EXECUTE format('DROP POLICY %I ON %I', policy.policyname, policy.tablename);"
        " EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', policy.tablename); END LOOP; END $$"
    )
    op.execute("DROP FUNCTION np_current_user()")
    for role in ("np_customer", "np_staff", "np_system"):
        op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE ALL ON SCHEMA public FROM {role}")
    op.execute("GRANT EXECUTE ON FUNCTION np_create_payment_partitions(date, integer) TO PUBLIC")
