-- What a checkout was ordered with, beside its plan.
ALTER TABLE checkout_sessions
    ADD COLUMN quantity INTEGER DEFAULT 1 NOT NULL,
    ADD COLUMN currency TEXT,
    ADD COLUMN promotion_code TEXT,
    ADD COLUMN is_trial BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN license_id UUID,
    ADD COLUMN refused_because TEXT,
    ADD CONSTRAINT fk_checkout_sessions_license_id FOREIGN KEY (license_id) REFERENCES licenses (id)
        DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT ck_checkout_sessions_quantity CHECK (quantity >= 1 AND (quantity = 1 OR license_id IS NULL));
CREATE INDEX ix_checkout_sessions_license_id ON checkout_sessions (license_id) WHERE license_id IS NOT NULL;
-- A plan may be tried for some days, and be sold in other currencies than its own: {"eur": {"month": 2700, "year": 27000}}.
ALTER TABLE plans
    ADD COLUMN trial_days INTEGER,
    ADD COLUMN currency_prices JSONB DEFAULT '{}' NOT NULL,
    ADD CONSTRAINT ck_plans_trial_days CHECK (trial_days BETWEEN 1 AND 730);
ALTER TABLE subscriptions
    ADD COLUMN quantity INTEGER DEFAULT 1 NOT NULL,
    ADD COLUMN ends_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN trial_ends_at TIMESTAMP WITH TIME ZONE;
UPDATE subscriptions SET ends_at = coalesce(ended_at, current_period_end)
    WHERE cancel_at_period_end OR status = 'cancelled';
-- The licenses that a subscription pays for; `subscriptions.license_id` is the first of them.
CREATE TABLE license_subscriptions (
    subscription_id UUID NOT NULL,
    license_id UUID NOT NULL,
    user_id UUID NOT NULL,
    position INTEGER NOT NULL,
    ends_with_period BOOLEAN DEFAULT false NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT np_now() NOT NULL,
    CONSTRAINT pk_license_subscriptions PRIMARY KEY (subscription_id, license_id),
    CONSTRAINT fk_license_subscriptions_subscription_id FOREIGN KEY (subscription_id) REFERENCES subscriptions (id),
    CONSTRAINT fk_license_subscriptions_license_id_user_id FOREIGN KEY (license_id, user_id)
        REFERENCES licenses (id, user_id),
    CONSTRAINT fk_license_subscriptions_license_id FOREIGN KEY (license_id) REFERENCES licenses (id),
    CONSTRAINT fk_license_subscriptions_user_id FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX ix_license_subscriptions_license_id ON license_subscriptions (license_id);
CREATE INDEX ix_license_subscriptions_user_id ON license_subscriptions (user_id);
INSERT INTO license_subscriptions (subscription_id, license_id, user_id, position, ended_at, created_at)
    SELECT id, license_id, user_id, 0, CASE WHEN status = 'cancelled' THEN coalesce(ended_at, updated_at) END, created_at
    FROM subscriptions;
-- A trial is given once for each user and for each card.
CREATE TABLE trials (
    user_id UUID NOT NULL,
    card_fingerprint TEXT NOT NULL,
    checkout_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT np_now() NOT NULL,
    CONSTRAINT pk_trials PRIMARY KEY (user_id),
    CONSTRAINT uq_trials_card_fingerprint UNIQUE (card_fingerprint),
    CONSTRAINT fk_trials_user_id FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT fk_trials_checkout_id FOREIGN KEY (checkout_id) REFERENCES checkout_sessions (id)
);
GRANT SELECT ON license_subscriptions, trials TO np_customer, np_staff;
GRANT SELECT, INSERT, UPDATE ON license_subscriptions TO np_system;
GRANT SELECT, INSERT ON trials TO np_system;
ALTER TABLE license_subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON license_subscriptions TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON license_subscriptions TO np_staff, np_system USING (true) WITH CHECK (true);
ALTER TABLE trials ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON trials TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON trials TO np_staff, np_system USING (true) WITH CHECK (true);
