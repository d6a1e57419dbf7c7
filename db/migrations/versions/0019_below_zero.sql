-- A total below zero is credit that nobody sees. It is flagged with the instant at which it passed below zero, and an
-- event of its own (action "corrected") brings it to 0: see core/licensing/counting.py.
ALTER TYPE usage_action ADD VALUE 'corrected';

ALTER TABLE license_usage ADD COLUMN below_since TIMESTAMP WITH TIME ZONE;
ALTER TABLE license_usage ADD COLUMN corrected_at TIMESTAMP WITH TIME ZONE;

CREATE INDEX ix_license_usage_below_zero ON license_usage (license_id)
    WHERE below_since IS NOT NULL OR corrected_at IS NOT NULL;

-- Whoever writes a total, a process of an older release and psql included. WHEN keeps it out of every other change.
CREATE FUNCTION np_flag_below_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.below_since := CASE WHEN NEW.used < 0 THEN clock_timestamp() END;
    RETURN NEW;
END $$;

CREATE TRIGGER flag_below_zero BEFORE INSERT OR UPDATE ON license_usage FOR EACH ROW
    WHEN ((NEW.used < 0) <> (NEW.below_since IS NOT NULL))
    EXECUTE FUNCTION np_flag_below_zero();

-- Those that stand below zero from before: reports that they have overtaken have ten minutes from now.
UPDATE license_usage SET below_since = clock_timestamp() WHERE used < 0;
