ALTER TABLE users DROP COLUMN former_stripe_customer_ids;
