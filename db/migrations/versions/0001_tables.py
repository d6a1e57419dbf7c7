"""Every table of the first version."""

from alembic import op

from db.migrations.sql import run_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0001_tables.sql")


def downgrade() -> None:
    for table in (
        "audit_log",
        "inbox",
        "outbox",
        "projection_epoch",
        "payment_intents",
        "payments",
        "usage_events",
        "license_usage",
        "api_keys",
        "domains",
        "invoices",
        "subscriptions",
        "licenses",
        "checkout_sessions",
        "idempotency_keys",
        "mails",
        "one_time_tokens",
        "sessions",
        "webhook_events",
        "plan_prices",
        "plans",
        "users",
    ):
        op.execute(f"DROP TABLE {table}")
    for kind in (
        "billing_interval",
        "checkout_status",
        "domain_status",
        "fingerprint_policy",
        "invoice_status",
        "license_status",
        "license_type",
        "payment_status",
        "provisioning_state",
        "registrar",
        "subscription_status",
        "token_purpose",
        "usage_action",
        "user_role",
        "webhook_source",
    ):
        op.execute(f"DROP TYPE {kind}")
