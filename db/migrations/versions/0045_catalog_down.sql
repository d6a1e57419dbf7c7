ALTER TABLE plan_changes DROP COLUMN keeps_price;
ALTER TABLE subscriptions DROP COLUMN stripe_price_id;
REVOKE INSERT, UPDATE ON plans FROM np_staff;
ALTER TABLE plans DROP COLUMN code;
