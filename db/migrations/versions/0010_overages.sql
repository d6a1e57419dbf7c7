-- Licences that may pass a limit: few of a million, and all that staff have to look at to find those that do.
--
-- Whether one does stands in two tables, a total and a limit, which different transactions change at once without locks
-- on each other's rows. A flag that both kept exact would have to take such locks. So this is a list of candidates that
-- may be too long and never too short: a total noted as it passes the limit it can see, and a licence as a limit of its
-- falls. Of two such changes at once at least one notes it. Whoever asks compares totals and limits of the candidates.
CREATE TABLE overage_candidates (
    license_id UUID NOT NULL,
    user_id UUID NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_overage_candidates PRIMARY KEY (license_id),
    CONSTRAINT fk_overage_candidates_license_id FOREIGN KEY(license_id) REFERENCES licenses (id)
        ON DELETE CASCADE,
    CONSTRAINT fk_overage_candidates_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_overage_candidates_user_id ON overage_candidates (user_id);

-- Lists are shown newest first; this is that order.
CREATE INDEX ix_licenses_created_at ON licenses (created_at, id);

GRANT SELECT, DELETE ON overage_candidates TO np_system;
GRANT SELECT ON overage_candidates TO np_staff, np_customer;

ALTER TABLE overage_candidates ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON overage_candidates TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON overage_candidates TO np_staff, np_system USING (true) WITH CHECK (true);

CREATE FUNCTION np_limit_of(license licenses, resource text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE resource WHEN 'accounts' THEN license.max_accounts WHEN 'domains' THEN license.max_domains
        WHEN 'databases' THEN license.max_databases WHEN 'emails' THEN license.max_emails
        WHEN 'storage_gb' THEN license.max_storage_gb END
$$;

-- In the order of the ids, as totals are locked: no two batches wait for each other. Who was noted lately is not noted
-- again, or each report of a licence that stays above its limit would write one more row.
CREATE FUNCTION np_note_overage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO overage_candidates (license_id, user_id)
        SELECT DISTINCT licenses.id, licenses.user_id
        FROM changed JOIN licenses ON licenses.id = changed.license_id
        WHERE changed.used > np_limit_of(licenses, changed.resource) ORDER BY licenses.id
    ON CONFLICT (license_id) DO UPDATE SET noted_at = clock_timestamp()
        WHERE overage_candidates.noted_at < clock_timestamp() - interval '1 minute';
    RETURN NULL;
END $$;

CREATE TRIGGER note_overage_inserted AFTER INSERT ON license_usage REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION np_note_overage();

CREATE TRIGGER note_overage_updated AFTER UPDATE ON license_usage REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION np_note_overage();

CREATE FUNCTION np_note_fallen_limit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO overage_candidates (license_id, user_id) VALUES (NEW.id, NEW.user_id)
    ON CONFLICT (license_id) DO UPDATE SET noted_at = clock_timestamp();
    RETURN NULL;
END $$;

-- From unlimited to any limit is a fall too.
CREATE TRIGGER note_fallen_limit AFTER UPDATE ON licenses FOR EACH ROW
    WHEN (NEW.max_accounts < OLD.max_accounts OR NEW.max_domains < OLD.max_domains
        OR NEW.max_databases < OLD.max_databases OR NEW.max_emails < OLD.max_emails
        OR NEW.max_storage_gb < OLD.max_storage_gb
        OR (OLD.max_accounts IS NULL AND NEW.max_accounts IS NOT NULL)
        OR (OLD.max_domains IS NULL AND NEW.max_domains IS NOT NULL)
        OR (OLD.max_databases IS NULL AND NEW.max_databases IS NOT NULL)
        OR (OLD.max_emails IS NULL AND NEW.max_emails IS NOT NULL)
        OR (OLD.max_storage_gb IS NULL AND NEW.max_storage_gb IS NOT NULL))
    EXECUTE FUNCTION np_note_fallen_limit();

INSERT INTO overage_candidates (license_id, user_id)
    SELECT DISTINCT licenses.id, licenses.user_id
    FROM license_usage JOIN licenses ON licenses.id = license_usage.license_id
    WHERE license_usage.used > np_limit_of(licenses, license_usage.resource);
