ALTER TABLE invoices DROP COLUMN next_attempt_at, DROP COLUMN needs_owner;
ALTER TABLE subscriptions DROP COLUMN discount, DROP COLUMN next_amount, DROP COLUMN next_amount_for;
