ALTER TABLE subscriptions DROP COLUMN pending_quantity;
ALTER TABLE plan_changes DROP COLUMN quantity, DROP COLUMN end_license_ids;
