DROP TRIGGER forget_key_hint ON licenses;
DROP FUNCTION np_forget_key_hint;
DROP TRIGGER raise_version ON licenses;
ALTER TABLE licenses DROP COLUMN key_hint;
CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW
    WHEN (OLD.license_key = NEW.license_key
          OR to_jsonb(OLD) - 'license_key' IS DISTINCT FROM to_jsonb(NEW) - 'license_key')
    EXECUTE FUNCTION np_raise_version();
