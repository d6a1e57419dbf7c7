ALTER TABLE subscriptions DROP COLUMN unknown_price_id;
DROP TABLE stripe_event_cursor;
