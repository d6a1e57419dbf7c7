-- What the database does by itself: versions that rise, outbox rows that no writer can forget, partitions made ahead.

INSERT INTO projection_epoch (only_row, epoch) VALUES (true, 1);

-- A statement that wrote outbox rows wakes the relay once its transaction commits; the payload is the lane.
CREATE FUNCTION np_announce_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', lane) FROM (SELECT DISTINCT lane FROM added) lanes;
    RETURN NULL;
END $$;

CREATE TRIGGER announce AFTER INSERT ON outbox REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION np_announce_outbox();

-- Versions rise under the row's own lock, so that of two projections of one row the later one always wins.
CREATE FUNCTION np_raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW EXECUTE FUNCTION np_raise_version();

CREATE TRIGGER raise_version BEFORE UPDATE ON license_usage FOR EACH ROW EXECUTE FUNCTION np_raise_version();

-- When a key was last used is no change that validators must hear of.
CREATE TRIGGER raise_version BEFORE UPDATE ON api_keys FOR EACH ROW
    WHEN (to_jsonb(OLD) - 'last_used_at' IS DISTINCT FROM to_jsonb(NEW) - 'last_used_at')
    EXECUTE FUNCTION np_raise_version();

-- The owner's rights: whoever may change a row has its change projected, without a grant on the outbox of his own.
CREATE FUNCTION np_project_license() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.outbox (lane, job) VALUES ('projection', jsonb_strip_nulls(jsonb_build_object(
        'type', 'project_license', 'license_id', NEW.id,
        'retired_hash', CASE WHEN TG_OP = 'UPDATE' AND OLD.license_key_hash <> NEW.license_key_hash
                             THEN encode(OLD.license_key_hash, 'hex') END)));
    RETURN NULL;
END $$;

CREATE TRIGGER project AFTER INSERT OR UPDATE ON licenses FOR EACH ROW EXECUTE FUNCTION np_project_license();

-- One row a statement and licence, however many resources a batch of reports touched.
CREATE FUNCTION np_project_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.outbox (lane, job)
        SELECT DISTINCT 'projection', jsonb_build_object('type', 'project_usage', 'license_id', license_id)
        FROM changed;
    RETURN NULL;
END $$;

CREATE TRIGGER project_inserted AFTER INSERT ON license_usage REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION np_project_usage();

CREATE TRIGGER project_updated AFTER UPDATE ON license_usage REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION np_project_usage();

CREATE FUNCTION np_project_api_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.version <> OLD.version THEN
        INSERT INTO public.outbox (lane, job)
            VALUES ('projection', jsonb_build_object('type', 'project_api_key', 'api_key_id', NEW.id));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER project AFTER INSERT OR UPDATE ON api_keys FOR EACH ROW EXECUTE FUNCTION np_project_api_key();

-- Rows of the audit trail are added, never changed.
CREATE FUNCTION np_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION np_refuse_change();

-- Monthly partitions of payments, from the month of `since` on; what falls outside lands in the default partition,
-- where it is safe and an alert finds it (docs/operations.md says how to move it out).
CREATE TABLE payments_default PARTITION OF payments DEFAULT;

CREATE FUNCTION np_create_payment_partitions(since date, months integer) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', since)::date;
    month date;
    created integer := 0;
BEGIN
    FOR i IN 0 .. months - 1 LOOP
        month := (first + make_interval(months => i))::date;
        IF to_regclass(format('public.payments_%s', to_char(month, 'YYYY_MM'))) IS NULL THEN
            EXECUTE format('CREATE TABLE public.payments_%s PARTITION OF public.payments FOR VALUES FROM (%L) TO (%L)',
                to_char(month, 'YYYY_MM'), month::timestamp AT TIME ZONE 'UTC',
                (month + interval '1 month') AT TIME ZONE 'UTC');
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END $$;

SELECT np_create_payment_partitions((now() AT TIME ZONE 'UTC')::date, 4);
