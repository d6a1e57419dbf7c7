-- A plan is known by a code of its own; the seed's three have the names of their kinds, which were asked for until now.
ALTER TABLE plans ADD COLUMN code TEXT;
UPDATE plans SET code = numbered.code
    FROM (
        SELECT id, license_type || CASE row_number() OVER of_kind WHEN 1 THEN '' ELSE '-' || row_number() OVER of_kind END
            AS code
        FROM plans WINDOW of_kind AS (PARTITION BY license_type ORDER BY NOT is_active, created_at, id)
    ) AS numbered
    WHERE numbered.id = plans.id;
ALTER TABLE plans ALTER COLUMN code SET NOT NULL, ADD CONSTRAINT uq_plans_code UNIQUE (code);
GRANT INSERT, UPDATE ON plans TO np_staff;
-- The price that is billed: a subscription keeps the one at which it was sold.
ALTER TABLE subscriptions ADD COLUMN stripe_price_id TEXT;
-- Who changes the number alone keeps the price, which is not named to Stripe then: it may be archived.
ALTER TABLE plan_changes ADD COLUMN keeps_price BOOLEAN DEFAULT false NOT NULL;
