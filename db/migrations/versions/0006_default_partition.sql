-- A month whose rows lie in the default partition cannot be made. That is a warning in the server's log and an alert of
-- the workers (np_payments_in_default_partition below), and no reason to leave the months after it unmade too.
CREATE OR REPLACE FUNCTION np_create_payment_partitions(since date, months integer) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', since)::date;
    month date;
    created integer := 0;
BEGIN
    FOR i IN 0 .. months - 1 LOOP
        month := (first + make_interval(months => i))::date;
        CONTINUE WHEN to_regclass(format('public.payments_%s', to_char(month, 'YYYY_MM'))) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE public.payments_%s PARTITION OF public.payments FOR VALUES FROM (%L) TO (%L)',
                to_char(month, 'YYYY_MM'), month::timestamp AT TIME ZONE 'UTC',
                (month + interval '1 month') AT TIME ZONE 'UTC');
            created := created + 1;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'payments_% cannot be made: %', to_char(month, 'YYYY_MM'), SQLERRM
                USING HINT = 'docs/operations.md says how rows are moved out of payments_default';
        END;
    END LOOP;
    RETURN created;
END $$;

-- Workers may not read a partition past its parent's row security; how many rows this one holds is all they need.
CREATE FUNCTION np_payments_in_default_partition() RETURNS bigint LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) FROM public.payments_default
$$;

REVOKE EXECUTE ON FUNCTION np_payments_in_default_partition() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION np_payments_in_default_partition() TO np_system;
