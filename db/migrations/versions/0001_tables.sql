-- Every table of the first version, as db/models describes them. Frozen: later changes are migrations of their own.

CREATE TYPE billing_interval AS ENUM ('month', 'year');
CREATE TYPE checkout_status AS ENUM ('open', 'complete', 'expired');
CREATE TYPE domain_status AS ENUM ('active', 'pending', 'expired', 'transferred');
CREATE TYPE fingerprint_policy AS ENUM ('none', 'required');
CREATE TYPE invoice_status AS ENUM ('draft', 'open', 'paid', 'void', 'uncollectible');
CREATE TYPE license_status AS ENUM ('active', 'suspended', 'expired', 'cancelled');
CREATE TYPE license_type AS ENUM ('starter', 'professional', 'enterprise');
CREATE TYPE payment_status AS ENUM ('succeeded', 'pending', 'failed', 'refunded');
CREATE TYPE provisioning_state AS ENUM ('pending', 'done', 'failed');
CREATE TYPE registrar AS ENUM ('resellerclub', 'namecheap', 'opensrs');
CREATE TYPE subscription_status AS ENUM ('active', 'past_due', 'cancelled', 'trialing');
CREATE TYPE token_purpose AS ENUM ('verify_email', 'reset_password');
CREATE TYPE usage_action AS ENUM ('created', 'deleted', 'set');
CREATE TYPE user_role AS ENUM ('customer', 'support', 'admin');
CREATE TYPE webhook_source AS ENUM ('stripe', 'registrar');

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor_id UUID,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    detail JSONB NOT NULL,
    request_id TEXT,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
);
CREATE INDEX ix_audit_log_target ON audit_log (target_kind, target_id);

CREATE TABLE inbox (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_inbox PRIMARY KEY (source, key)
);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    lane TEXT NOT NULL,
    job JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    done_at TIMESTAMP WITH TIME ZONE,
    dead_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT ck_outbox_lane CHECK (lane IN ('projection', 'partner'))
);
CREATE INDEX ix_outbox_waiting ON outbox (lane, due_at) WHERE done_at IS NULL AND dead_at IS NULL;

CREATE TABLE payment_intents (
    stripe_payment_intent_id TEXT NOT NULL,
    payment_id UUID NOT NULL,
    payment_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_payment_intents PRIMARY KEY (stripe_payment_intent_id)
);

CREATE TABLE plans (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    license_type license_type NOT NULL,
    description TEXT NOT NULL,
    price_monthly INTEGER NOT NULL,
    price_yearly INTEGER NOT NULL,
    currency TEXT NOT NULL,
    features JSONB NOT NULL,
    stripe_price_id_monthly TEXT,
    stripe_price_id_yearly TEXT,
    is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    max_accounts INTEGER,
    max_domains INTEGER,
    max_databases INTEGER,
    max_emails INTEGER,
    max_storage_gb INTEGER,
    CONSTRAINT pk_plans PRIMARY KEY (id),
    CONSTRAINT uq_plans_name UNIQUE (name)
);

CREATE TABLE plan_prices (
    stripe_price_id TEXT NOT NULL,
    plan_id UUID NOT NULL,
    interval billing_interval NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_plan_prices PRIMARY KEY (stripe_price_id),
    CONSTRAINT fk_plan_prices_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id)
);
CREATE INDEX ix_plan_prices_plan_id ON plan_prices (plan_id);

CREATE TABLE projection_epoch (
    only_row BOOLEAN NOT NULL,
    epoch BIGINT NOT NULL,
    CONSTRAINT pk_projection_epoch PRIMARY KEY (only_row),
    CONSTRAINT ck_projection_epoch_only_row CHECK (only_row)
);

CREATE TABLE users (
    id UUID NOT NULL,
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    full_name TEXT NOT NULL,
    company_name TEXT,
    stripe_customer_id TEXT,
    role user_role NOT NULL,
    email_verified_at TIMESTAMP WITH TIME ZONE,
    is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_stripe_customer_id UNIQUE (stripe_customer_id)
);
CREATE UNIQUE INDEX uq_users_email ON users (lower(email));

CREATE TABLE webhook_events (
    id UUID NOT NULL,
    event_type TEXT NOT NULL,
    source webhook_source NOT NULL,
    source_event_id TEXT NOT NULL,
    payload JSONB NOT NULL,
    processed BOOLEAN NOT NULL,
    processed_at TIMESTAMP WITH TIME ZONE,
    error_message TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_events PRIMARY KEY (id),
    CONSTRAINT uq_webhook_events_source_source_event_id UNIQUE (source, source_event_id)
);
CREATE INDEX ix_webhook_events_unprocessed ON webhook_events (created_at) WHERE NOT processed;

CREATE TABLE checkout_sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    interval billing_interval NOT NULL,
    status checkout_status NOT NULL,
    stripe_session_id TEXT,
    url TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_checkout_sessions PRIMARY KEY (id),
    CONSTRAINT fk_checkout_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_checkout_sessions_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id),
    CONSTRAINT uq_checkout_sessions_stripe_session_id UNIQUE (stripe_session_id)
);
CREATE INDEX ix_checkout_sessions_user_id ON checkout_sessions (user_id);

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    user_id UUID,
    body_hash BYTEA NOT NULL,
    status_code INTEGER,
    answer BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (scope, key),
    CONSTRAINT fk_idempotency_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_idempotency_keys_user_id ON idempotency_keys (user_id);

CREATE TABLE mails (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    user_id UUID NOT NULL,
    recipient TEXT NOT NULL,
    template TEXT NOT NULL,
    parameters JSONB NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_mails PRIMARY KEY (id),
    CONSTRAINT uq_mails_key UNIQUE (key),
    CONSTRAINT fk_mails_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_mails_user_id ON mails (user_id);

CREATE TABLE one_time_tokens (
    token_hash BYTEA NOT NULL,
    user_id UUID NOT NULL,
    purpose token_purpose NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_one_time_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_one_time_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_one_time_tokens_user_id ON one_time_tokens (user_id);

CREATE TABLE sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    refresh_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    rotated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    authenticated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    user_agent TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_sessions_refresh_hash UNIQUE (refresh_hash)
);
CREATE INDEX ix_sessions_previous_hash ON sessions (previous_hash);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE licenses (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    checkout_id UUID,
    license_key BYTEA NOT NULL,
    license_key_hash BYTEA NOT NULL,
    license_type license_type NOT NULL,
    status license_status NOT NULL,
    status_reason TEXT,
    features JSONB NOT NULL,
    fingerprint_policy fingerprint_policy NOT NULL,
    fingerprint TEXT,
    nextpanel_user_id UUID,
    nextpanel_login_url TEXT,
    provisioning provisioning_state NOT NULL,
    provisioning_error TEXT,
    activation_date TIMESTAMP WITH TIME ZONE NOT NULL,
    expiry_date TIMESTAMP WITH TIME ZONE,
    grace_until TIMESTAMP WITH TIME ZONE,
    auto_renew BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    max_accounts INTEGER,
    max_domains INTEGER,
    max_databases INTEGER,
    max_emails INTEGER,
    max_storage_gb INTEGER,
    CONSTRAINT pk_licenses PRIMARY KEY (id),
    CONSTRAINT fk_licenses_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_licenses_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id),
    CONSTRAINT uq_licenses_checkout_id UNIQUE (checkout_id),
    CONSTRAINT fk_licenses_checkout_id FOREIGN KEY(checkout_id) REFERENCES checkout_sessions (id),
    CONSTRAINT uq_licenses_license_key_hash UNIQUE (license_key_hash)
);
CREATE INDEX ix_licenses_user_id ON licenses (user_id);

CREATE TABLE api_keys (
    id UUID NOT NULL,
    user_id UUID,
    license_id UUID,
    key_id TEXT NOT NULL,
    key_hash BYTEA NOT NULL,
    secret BYTEA NOT NULL,
    previous_secret BYTEA,
    previous_until TIMESTAMP WITH TIME ZONE,
    name TEXT NOT NULL,
    permissions JSONB NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    is_active BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT fk_api_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_api_keys_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT uq_api_keys_key_id UNIQUE (key_id)
);
CREATE INDEX ix_api_keys_key_hash ON api_keys (key_hash);
CREATE INDEX ix_api_keys_license_id ON api_keys (license_id);
CREATE INDEX ix_api_keys_user_id ON api_keys (user_id);

CREATE TABLE domains (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    license_id UUID,
    domain_name TEXT NOT NULL,
    registrar registrar NOT NULL,
    registrar_domain_id TEXT,
    registration_date TIMESTAMP WITH TIME ZONE,
    expiry_date TIMESTAMP WITH TIME ZONE,
    auto_renew BOOLEAN NOT NULL,
    nameservers JSONB NOT NULL,
    status domain_status NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_domains PRIMARY KEY (id),
    CONSTRAINT fk_domains_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_domains_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT uq_domains_domain_name UNIQUE (domain_name)
);
CREATE INDEX ix_domains_license_id ON domains (license_id);
CREATE INDEX ix_domains_user_id ON domains (user_id);

CREATE TABLE license_usage (
    license_id UUID NOT NULL,
    resource TEXT NOT NULL,
    user_id UUID NOT NULL,
    used BIGINT NOT NULL,
    version BIGINT NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_license_usage PRIMARY KEY (license_id, resource),
    CONSTRAINT fk_license_usage_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT fk_license_usage_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_license_usage_user_id ON license_usage (user_id);

CREATE TABLE payments (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    user_id UUID NOT NULL,
    license_id UUID,
    stripe_payment_intent_id TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    status payment_status NOT NULL,
    payment_method TEXT,
    description TEXT,
    metadata JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_payments PRIMARY KEY (id, created_at),
    CONSTRAINT fk_payments_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_payments_license_id FOREIGN KEY(license_id) REFERENCES licenses (id)
)
 PARTITION BY RANGE (created_at);
CREATE INDEX ix_payments_license_id ON payments (license_id);
CREATE INDEX ix_payments_stripe_payment_intent_id ON payments (stripe_payment_intent_id);
CREATE INDEX ix_payments_user_id_created_at ON payments (user_id, created_at);

CREATE TABLE subscriptions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    license_id UUID NOT NULL,
    stripe_subscription_id TEXT NOT NULL,
    plan_id UUID NOT NULL,
    interval billing_interval NOT NULL,
    status subscription_status NOT NULL,
    current_period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    current_period_end TIMESTAMP WITH TIME ZONE NOT NULL,
    cancel_at_period_end BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_subscriptions PRIMARY KEY (id),
    CONSTRAINT fk_subscriptions_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_subscriptions_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT uq_subscriptions_stripe_subscription_id UNIQUE (stripe_subscription_id),
    CONSTRAINT fk_subscriptions_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id)
);
CREATE INDEX ix_subscriptions_license_id ON subscriptions (license_id);
CREATE INDEX ix_subscriptions_user_id ON subscriptions (user_id);

CREATE TABLE usage_events (
    id UUID NOT NULL,
    license_id UUID NOT NULL,
    user_id UUID NOT NULL,
    resource TEXT NOT NULL,
    action usage_action NOT NULL,
    count BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    reservation_id TEXT,
    used_after BIGINT NOT NULL,
    is_overage BOOLEAN NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_usage_events PRIMARY KEY (id),
    CONSTRAINT uq_usage_events_license_id_idempotency_key UNIQUE (license_id, idempotency_key),
    CONSTRAINT ck_usage_events_count_not_negative CHECK (count >= 0),
    CONSTRAINT fk_usage_events_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT fk_usage_events_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_usage_events_license_id_occurred_at ON usage_events (license_id, resource, occurred_at);
CREATE INDEX ix_usage_events_user_id ON usage_events (user_id);

CREATE TABLE invoices (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    stripe_invoice_id TEXT NOT NULL,
    subscription_id UUID,
    number TEXT,
    amount_due BIGINT NOT NULL,
    amount_paid BIGINT NOT NULL,
    currency TEXT NOT NULL,
    status invoice_status NOT NULL,
    invoice_pdf_url TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_date TIMESTAMP WITH TIME ZONE,
    paid_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_invoices PRIMARY KEY (id),
    CONSTRAINT fk_invoices_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT uq_invoices_stripe_invoice_id UNIQUE (stripe_invoice_id),
    CONSTRAINT fk_invoices_subscription_id FOREIGN KEY(subscription_id) REFERENCES subscriptions (id)
);
CREATE INDEX ix_invoices_subscription_id ON invoices (subscription_id);
CREATE INDEX ix_invoices_user_id ON invoices (user_id);
