-- A subscription keeps the price at which it was sold, which is not always what its plan costs today. NULL until Stripe's
-- object is read again: with its next event, at the latest when it is renewed.
ALTER TABLE subscriptions ADD COLUMN renewal_amount BIGINT, ADD COLUMN renewal_currency TEXT;
