ALTER TABLE users ADD COLUMN former_stripe_customer_ids JSONB NOT NULL DEFAULT '[]';
CREATE INDEX ix_users_former_stripe_customer_ids ON users USING gin (former_stripe_customer_ids jsonb_path_ops);
GRANT SELECT (former_stripe_customer_ids) ON users TO np_staff, np_customer;
