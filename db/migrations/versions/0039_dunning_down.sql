DROP INDEX ix_licenses_lapsing;
ALTER TABLE subscriptions DROP COLUMN renewal_told_for;
DROP TABLE dunning_steps;
DROP INDEX ix_invoices_first_failed_at;
ALTER TABLE invoices DROP COLUMN first_failed_at;
