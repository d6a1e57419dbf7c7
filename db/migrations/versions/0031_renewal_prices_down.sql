ALTER TABLE subscriptions DROP COLUMN renewal_amount, DROP COLUMN renewal_currency;
