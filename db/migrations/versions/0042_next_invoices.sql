-- What the next invoice would charge by Stripe's own reckoning, for what that holds, and the discount that is in force.
ALTER TABLE subscriptions
    ADD COLUMN discount JSONB,
    ADD COLUMN next_amount BIGINT,
    ADD COLUMN next_amount_for TEXT;
-- Of an open invoice: when Stripe tries it again, and whether only its owner can have it paid.
ALTER TABLE invoices
    ADD COLUMN next_attempt_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN needs_owner BOOLEAN DEFAULT false NOT NULL;
