-- What staff gave one licence by hand, apart from what its plan and the paid period give: it outlives both.
-- limit_overrides: {"max_databases": {"at_least": 60}, "max_emails": {"at_most": 0}}; null under at_least is unlimited.
ALTER TABLE licenses ADD COLUMN limit_overrides JSONB DEFAULT '{}' NOT NULL;
ALTER TABLE licenses ADD COLUMN extended_until TIMESTAMP WITH TIME ZONE;

-- What NextPanel is asked for under the account's one idempotency key, as it was first sent.
ALTER TABLE licenses ADD COLUMN account_order JSONB;

-- A date that somebody set beyond the paid period was given by hand.
UPDATE licenses SET extended_until = licenses.expiry_date
    FROM subscriptions
    WHERE subscriptions.license_id = licenses.id AND licenses.expiry_date > subscriptions.current_period_end;

-- The end of the period that was paid at the licence's plan: no earlier does a cheaper one take its place.
ALTER TABLE subscriptions ADD COLUMN plan_paid_until TIMESTAMP WITH TIME ZONE;
UPDATE subscriptions SET plan_paid_until = current_period_end;
ALTER TABLE subscriptions ALTER COLUMN plan_paid_until SET NOT NULL;

-- What Stripe will make of it: at pending_from, or where that is null as soon as it is paid.
ALTER TABLE subscriptions ADD COLUMN pending_plan_id UUID;
ALTER TABLE subscriptions ADD COLUMN pending_interval billing_interval;
ALTER TABLE subscriptions ADD COLUMN pending_from TIMESTAMP WITH TIME ZONE;
ALTER TABLE subscriptions ADD COLUMN pending_payment_url TEXT;
ALTER TABLE subscriptions ADD CONSTRAINT fk_subscriptions_pending_plan_id
    FOREIGN KEY(pending_plan_id) REFERENCES plans (id);

-- When Stripe's object was last looked at; the sweeper takes those first that it has not seen for longest.
ALTER TABLE subscriptions ADD COLUMN mirrored_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL;
CREATE INDEX ix_subscriptions_mirrored_at ON subscriptions (mirrored_at) WHERE status <> 'cancelled';

-- A customer's wish for another plan, written before Stripe is asked; its id is the idempotency key of those calls.
CREATE TYPE plan_change_direction AS ENUM ('upgrade', 'downgrade');
CREATE TABLE plan_changes (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    interval billing_interval NOT NULL,
    stripe_price_id TEXT NOT NULL,
    direction plan_change_direction NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_plan_changes PRIMARY KEY (id),
    CONSTRAINT fk_plan_changes_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_plan_changes_subscription_id FOREIGN KEY(subscription_id) REFERENCES subscriptions (id),
    CONSTRAINT fk_plan_changes_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id)
);
CREATE INDEX ix_plan_changes_user_id ON plan_changes (user_id);
CREATE INDEX ix_plan_changes_subscription_id ON plan_changes (subscription_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON plan_changes TO np_system;
GRANT SELECT, INSERT ON plan_changes TO np_customer;
GRANT SELECT ON plan_changes TO np_staff;

ALTER TABLE plan_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON plan_changes TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON plan_changes TO np_staff, np_system USING (true) WITH CHECK (true);
