ALTER TABLE sessions
    ADD COLUMN address TEXT,
    ADD COLUMN last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL;

-- A session that has ended never lives again, whoever writes what; and the instant of its end is the first one.
CREATE FUNCTION np_keep_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revoked_at := OLD.revoked_at;
    RETURN NEW;
END $$;

CREATE TRIGGER keep_ended BEFORE UPDATE ON sessions FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION np_keep_ended();

-- Customers look at their sessions and end them. What a session is refreshed with is not theirs to read.
GRANT SELECT (id, user_id, user_agent, address, authenticated_at, created_at, last_seen_at, expires_at, revoked_at)
    ON sessions TO np_customer;
GRANT UPDATE (revoked_at) ON sessions TO np_customer;
