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

DROP TRIGGER raise_version ON licenses;
CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW
    WHEN ((OLD.license_key = NEW.license_key AND OLD.key_hint IS NOT DISTINCT FROM NEW.key_hint)
          OR to_jsonb(OLD) - '{license_key,key_hint}'::text[]
             IS DISTINCT FROM to_jsonb(NEW) - '{license_key,key_hint}'::text[])
    EXECUTE FUNCTION np_raise_version();

ALTER TABLE licenses DROP COLUMN label;
ALTER TABLE users DROP COLUMN locale, DROP COLUMN time_zone;
