DROP TRIGGER flag_below_zero ON license_usage;
DROP FUNCTION np_flag_below_zero();
DROP INDEX ix_license_usage_below_zero;
ALTER TABLE license_usage DROP COLUMN corrected_at;
ALTER TABLE license_usage DROP COLUMN below_since;

-- A correction says in the old words: so many in all, 0. An enum loses no value, so there is another one of that name.
UPDATE usage_events SET action = 'set', count = 0 WHERE action = 'corrected';
ALTER TYPE usage_action RENAME TO usage_action_before;
CREATE TYPE usage_action AS ENUM ('created', 'deleted', 'set');
ALTER TABLE usage_events ALTER COLUMN action TYPE usage_action USING action::text::usage_action;
DROP TYPE usage_action_before;
