-- The last four symbols of a license's key, in plain text: people tell keys apart by them. NULL where nobody knows them
-- yet: they are sealed with the key, and python -m workers.commands.fill_key_hints opens it.
-- No program's mistake writes more of a key there. A CHECK would refuse it too, but write the row into the server's log.
ALTER TABLE licenses ADD COLUMN key_hint VARCHAR(4);
CREATE INDEX ix_licenses_key_hint ON licenses (key_hint);
GRANT UPDATE (key_hint) ON licenses TO np_customer;

-- A hint changes nothing that a validator answers: nothing to project, no lease to sign.
DROP TRIGGER raise_version ON licenses;
CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW
    WHEN ((OLD.license_key = NEW.license_key AND OLD.key_hint IS NOT DISTINCT FROM NEW.key_hint)
          OR to_jsonb(OLD) - '{license_key,key_hint}'::text[]
             IS DISTINCT FROM to_jsonb(NEW) - '{license_key,key_hint}'::text[])
    EXECUTE FUNCTION np_raise_version();

-- A release that knows nothing of hints may rotate a key, while an update runs. The old key's hint must not stay.
CREATE FUNCTION np_forget_key_hint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.key_hint := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_key_hint BEFORE UPDATE OF license_key_hash ON licenses FOR EACH ROW
    WHEN (OLD.license_key_hash <> NEW.license_key_hash AND OLD.key_hint = NEW.key_hint)
    EXECUTE FUNCTION np_forget_key_hint();
