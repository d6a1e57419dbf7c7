DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT format('%I.%I', space.nspname, class.relname) AS name, quote_ident(attname) AS attribute,
            CASE pg_get_expr(adbin, adrelid) WHEN 'np_now()' THEN 'now()' ELSE 'clock_timestamp()' END AS expression
        FROM pg_attrdef
        JOIN pg_class AS class ON class.oid = adrelid AND NOT class.relispartition
        JOIN pg_namespace AS space ON space.oid = class.relnamespace AND space.nspname = 'public'
        JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        WHERE pg_get_expr(adbin, adrelid) IN ('np_now()', 'np_statement_now()')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s',
            found.name, found.attribute, found.expression);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION np_note_overage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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

CREATE OR REPLACE FUNCTION np_note_fallen_limit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO overage_candidates (license_id, user_id) VALUES (NEW.id, NEW.user_id)
    ON CONFLICT (license_id) DO UPDATE SET noted_at = clock_timestamp();
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION np_flag_below_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.below_since := CASE WHEN NEW.used < 0 THEN clock_timestamp() END;
    RETURN NEW;
END $$;

DROP FUNCTION np_now();
DROP FUNCTION np_statement_now();
