ALTER TABLE licenses DROP COLUMN account_generation;
DROP TABLE license_suspensions;
DROP TYPE suspension_cause;
