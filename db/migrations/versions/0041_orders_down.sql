DROP TABLE trials;
DROP TABLE license_subscriptions;
ALTER TABLE subscriptions DROP COLUMN quantity, DROP COLUMN ends_at, DROP COLUMN trial_ends_at;
ALTER TABLE plans DROP COLUMN trial_days, DROP COLUMN currency_prices;
ALTER TABLE checkout_sessions
    DROP CONSTRAINT ck_checkout_sessions_quantity,
    DROP COLUMN quantity,
    DROP COLUMN currency,
    DROP COLUMN promotion_code,
    DROP COLUMN is_trial,
    DROP COLUMN license_id,
    DROP COLUMN refused_because;
