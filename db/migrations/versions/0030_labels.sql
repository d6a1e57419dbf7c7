ALTER TABLE licenses ADD COLUMN label TEXT;
GRANT UPDATE (label) ON licenses TO np_customer;

ALTER TABLE users ADD COLUMN locale TEXT, ADD COLUMN time_zone TEXT;
GRANT SELECT (locale, time_zone) ON users TO np_staff, np_customer;
GRANT UPDATE (locale, time_zone) ON users TO np_customer;

-- A label is for people. A license that only gets another one is the same license: nothing to project, no lease to sign.
-- The same holds for a key that is sealed again, and for the hint of a key.
DROP TRIGGER raise_version ON licenses;
CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW
    WHEN ((OLD.license_key = NEW.license_key AND (OLD.key_hint, OLD.label) IS NOT DISTINCT FROM (NEW.key_hint, NEW.label))
          OR to_jsonb(OLD) - '{license_key,key_hint,label,updated_at}'::text[]
             IS DISTINCT FROM to_jsonb(NEW) - '{license_key,key_hint,label,updated_at}'::text[])
    EXECUTE FUNCTION np_raise_version();

-- What was forgotten of a deleted user does not come back.
CREATE OR REPLACE FUNCTION np_keep_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := OLD.email;
    NEW.email_key := OLD.email_key;
    NEW.password_hash := OLD.password_hash;
    NEW.full_name := OLD.full_name;
    NEW.company_name := OLD.company_name;
    NEW.locale := OLD.locale;
    NEW.time_zone := OLD.time_zone;
    NEW.role := OLD.role;
    NEW.email_verified_at := OLD.email_verified_at;
    NEW.is_active := OLD.is_active;
    NEW.deleted_at := OLD.deleted_at;
    RETURN NEW;
END $$;
