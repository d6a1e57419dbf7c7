-- A report changes one total of a licence. Naming the licence alone had all of its totals read, sent and compared; and a
-- row for each licence had as many rows written and deleted as there were reports. So a row names some totals, and no
-- more than 25: a row is applied, set aside and tried again as a whole.
LOCK TABLE license_usage IN SHARE ROW EXCLUSIVE MODE;

CREATE OR REPLACE FUNCTION np_project_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.outbox (lane, job)
        SELECT 'projection', jsonb_build_object(
            'type', 'project_usage', 'totals', jsonb_agg(jsonb_build_array(license_id, resource)))
        FROM (SELECT license_id, resource, (row_number() OVER () - 1) / 25 AS part FROM changed) AS numbered
        GROUP BY part;
    RETURN NULL;
END $$;

-- What waits from before, in the new words; a licence without totals has nothing to project.
UPDATE outbox SET job = jsonb_build_object('type', 'project_usage', 'totals', coalesce(
        (SELECT jsonb_agg(jsonb_build_array(license_id, resource)) FROM license_usage
         WHERE license_id = (job ->> 'license_id')::uuid), '[]'))
    WHERE lane = 'projection' AND job ->> 'type' = 'project_usage' AND job ? 'license_id';
