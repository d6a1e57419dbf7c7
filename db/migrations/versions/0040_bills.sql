-- What an invoice adds up from, as Stripe has it; amounts in minor units of its currency.
ALTER TABLE invoices
    ADD COLUMN subtotal BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN discount BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN tax BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN total BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN balance_used BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN amount_remaining BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN lines JSONB DEFAULT '[]' NOT NULL,
    ADD COLUMN credit_notes JSONB DEFAULT '[]' NOT NULL,
    ADD COLUMN payment_url TEXT;
-- Until they are mirrored again, older invoices show what is known of them.
UPDATE invoices SET subtotal = amount_due, total = amount_due, amount_remaining = amount_due - amount_paid;
