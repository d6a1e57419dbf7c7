-- Somebody who has deleted his account: the row stays, for invoices and payments lead to it, and names nobody any more.
ALTER TABLE users ADD COLUMN deleted_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX ix_users_deleted_at ON users (deleted_at) WHERE deleted_at IS NOT NULL;
GRANT SELECT (deleted_at) ON users TO np_staff, np_customer;

-- Whoever writes what, and however long his transaction had waited for the row: what was forgotten does not come back.
CREATE FUNCTION np_keep_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := OLD.email;
    NEW.password_hash := OLD.password_hash;
    NEW.full_name := OLD.full_name;
    NEW.company_name := OLD.company_name;
    NEW.role := OLD.role;
    NEW.email_verified_at := OLD.email_verified_at;
    NEW.is_active := OLD.is_active;
    NEW.deleted_at := OLD.deleted_at;
    RETURN NEW;
END $$;

CREATE TRIGGER keep_deleted BEFORE UPDATE ON users FOR EACH ROW
    WHEN (OLD.deleted_at IS NOT NULL) EXECUTE FUNCTION np_keep_deleted();

-- The Stripe customer that an event is about: its object's, or the object itself. By it a customer's events are found,
-- whose payloads hold his name and address as Stripe knew them.
CREATE FUNCTION np_event_customer(payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(payload #>> '{data,object,customer}', payload #>> '{data,object,id}')
$$;

CREATE INDEX ix_webhook_events_customer ON webhook_events (np_event_customer(payload));
