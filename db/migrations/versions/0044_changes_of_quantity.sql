-- A change may be one of the number of licenses, and names those that end.
ALTER TABLE plan_changes
    ADD COLUMN quantity INTEGER DEFAULT 1 NOT NULL,
    ADD COLUMN end_license_ids JSONB DEFAULT '[]' NOT NULL;
ALTER TABLE subscriptions ADD COLUMN pending_quantity INTEGER;
UPDATE subscriptions SET pending_quantity = quantity WHERE pending_plan_id IS NOT NULL;
