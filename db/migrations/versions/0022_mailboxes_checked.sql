ALTER TABLE users ALTER COLUMN email_key SET NOT NULL, ADD CONSTRAINT uq_users_email_key UNIQUE (email_key);
DROP INDEX uq_users_email;
ALTER TABLE mails ALTER COLUMN recipient_key SET NOT NULL;
DROP INDEX ix_mails_recipient;
CREATE INDEX ix_mails_recipient_key ON mails (recipient_key, created_at);
GRANT SELECT (email_key) ON users TO np_staff, np_customer;

CREATE FUNCTION np_name_mailbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.email_key := coalesce(NEW.email_key, np_mailbox_key(NEW.email));
    ELSIF NEW.email <> OLD.email AND NEW.email !~ '[^ -~]' AND NEW.email NOT ILIKE '%xn--%' THEN
        NEW.email_key := np_mailbox_key(NEW.email);
    END IF;
    RETURN NEW;
END $$;

-- After keep_deleted, for triggers fire in the order of their names.
CREATE TRIGGER name_mailbox BEFORE INSERT OR UPDATE OF email ON users FOR EACH ROW EXECUTE FUNCTION np_name_mailbox();

CREATE FUNCTION np_name_recipient() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recipient_key := coalesce(NEW.recipient_key, np_mailbox_key(NEW.recipient));
    RETURN NEW;
END $$;

CREATE TRIGGER name_recipient BEFORE INSERT ON mails FOR EACH ROW EXECUTE FUNCTION np_name_recipient();

CREATE OR REPLACE FUNCTION np_keep_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := OLD.email;
    NEW.email_key := OLD.email_key;
    NEW.password_hash := OLD.password_hash;
    NEW.full_name := OLD.full_name;
    NEW.company_name := OLD.company_name;
    NEW.role := OLD.role;
    NEW.email_verified_at := OLD.email_verified_at;
    NEW.is_active := OLD.is_active;
    NEW.deleted_at := OLD.deleted_at;
    RETURN NEW;
END $$;
