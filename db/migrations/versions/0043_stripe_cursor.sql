-- Up to which instant Stripe's list of events was read; no row while it never was.
CREATE TABLE stripe_event_cursor (
    only_row BOOLEAN DEFAULT true NOT NULL,
    read_until TIMESTAMP WITH TIME ZONE NOT NULL,
    walked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_stripe_event_cursor PRIMARY KEY (only_row),
    CONSTRAINT ck_stripe_event_cursor_only_row CHECK (only_row)
);
GRANT SELECT, INSERT, UPDATE ON stripe_event_cursor TO np_system;
GRANT SELECT ON stripe_event_cursor TO np_staff;
ALTER TABLE stripe_event_cursor ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_row ON stripe_event_cursor TO np_staff, np_system USING (true) WITH CHECK (true);
-- The price at Stripe that no plan has, while a subscription is at one: staff are told once of each.
ALTER TABLE subscriptions ADD COLUMN unknown_price_id TEXT;
