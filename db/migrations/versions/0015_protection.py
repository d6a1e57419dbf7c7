"""Activation tokens, what owners may change, the audit chain, and a trigger that knows a re-sealed key as the same."""

from alembic import op

from db.migrations.sql import run_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0015_protection.sql")


def downgrade() -> None:
    for column in ("at", "actor_id", "action"):
        op.execute(f"DROP INDEX ix_audit_log_{column}")
    op.execute("DROP TRIGGER await_seal ON audit_log")
    op.execute("DROP FUNCTION np_await_seal()")
    op.execute("DROP TABLE audit_unsealed")
    op.execute("DROP TABLE audit_seals")
    op.execute("DROP VIEW license_events")
    _project_every_update()
    op.execute("REVOKE UPDATE (license_key, license_key_hash, fingerprint, updated_at) ON licenses FROM np_customer")
    op.execute(
        "REVOKE INSERT, UPDATE (key_hash, secret, previous_secret, previous_until, is_active) ON api_keys"
        " FROM np_customer"
    )
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT fk_api_keys_license_id_user_id")
    op.execute("ALTER TABLE api_keys DROP COLUMN instance_id")
    op.execute("DROP TABLE activation_tokens")
    op.execute("ALTER TABLE licenses DROP CONSTRAINT uq_licenses_id_user_id")


def _project_every_update() -> None:
    """As 0002_guards.sql has it."""
    op.execute("DROP TRIGGER raise_version ON licenses")
    op.execute(
        "CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW EXECUTE FUNCTION np_raise_version()"
    )
    op.execute(
        """
        CREATE OR REPLACE FUNCTION np_project_license() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            INSERT INTO public.outbox (lane, job) VALUES ('projection', jsonb_strip_nulls(jsonb_build_object(
                'type', 'project_license', 'license_id', NEW.id,
                'retired_hash', CASE WHEN TG_OP = 'UPDATE' AND OLD.license_key_hash <> NEW.license_key_hash
                                     THEN encode(OLD.license_key_hash, 'hex') END)));
            RETURN NULL;
        END $$
        """
    )
