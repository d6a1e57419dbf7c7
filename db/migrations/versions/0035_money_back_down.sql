DROP TABLE disputes, refunds;
ALTER TABLE subscriptions DROP COLUMN ended_at, DROP COLUMN paused_for_dispute;
DROP INDEX ix_payments_created_at;
ALTER TABLE payments DROP COLUMN invoice_id, DROP COLUMN stripe_charge_id, DROP COLUMN refunded,
    DROP COLUMN failure_code, DROP COLUMN failure_message;
DROP TYPE refund_status;
DROP TYPE refund_origin;
DROP TYPE license_effect;
