-- A row for each licence whose totals changed, as before. In the same words as 0002_guards.sql: what a migration once said
-- stays as it was said.
LOCK TABLE license_usage IN SHARE ROW EXCLUSIVE MODE;

CREATE OR REPLACE FUNCTION np_project_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.outbox (lane, job)
        SELECT DISTINCT 'projection', jsonb_build_object('type', 'project_usage', 'license_id', license_id)
        FROM changed;
    RETURN NULL;
END $$;

INSERT INTO outbox (lane, job)
    SELECT DISTINCT 'projection', jsonb_build_object('type', 'project_usage', 'license_id', total ->> 0)
    FROM outbox CROSS JOIN jsonb_array_elements(job -> 'totals') AS total
    WHERE lane = 'projection' AND job ->> 'type' = 'project_usage';
DELETE FROM outbox WHERE lane = 'projection' AND job ? 'totals';
