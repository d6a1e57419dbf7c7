-- Who sees and changes what. Three roles, one for each kind of session (db/unit_of_work.py):
--   np_customer  the user named by np.user_id, and nobody else's rows; with nobody named, no rows at all
--   np_staff     support and admins: every row, no secrets of sign-in
--   np_system    the application on its own behalf: sign-in, webhooks, workers
-- Grants are on parent tables only: a partition with a grant of its own would show every row.

GRANT USAGE ON SCHEMA public TO np_customer, np_staff, np_system;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO np_system;
REVOKE ALL ON payments_default FROM np_system;
DO $$
DECLARE partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'payments'::regclass LOOP
        EXECUTE format('REVOKE ALL ON %s FROM np_system', partition);
    END LOOP;
END $$;
REVOKE UPDATE, DELETE ON audit_log FROM np_system;
REVOKE ALL ON alembic_version FROM np_system;

-- Of a user, everything but the password's hash; of mails, whose parameters may hold a token, nothing.
GRANT SELECT (id, email, full_name, company_name, stripe_customer_id, role, email_verified_at, is_active, created_at,
    updated_at) ON users TO np_staff, np_customer;

GRANT SELECT ON plans, licenses, subscriptions, invoices, payments, payment_intents, domains, api_keys,
    usage_events, license_usage, checkout_sessions, outbox, webhook_events, audit_log, idempotency_keys
    TO np_staff;
GRANT INSERT, UPDATE ON licenses, api_keys, outbox, idempotency_keys TO np_staff;
GRANT UPDATE ON webhook_events TO np_staff;
GRANT UPDATE (role, is_active, full_name, company_name, updated_at) ON users TO np_staff;
GRANT INSERT ON audit_log, mails TO np_staff;

GRANT SELECT ON plans, licenses, subscriptions, invoices, payments, domains, api_keys, usage_events,
    license_usage, checkout_sessions, idempotency_keys TO np_customer;
GRANT INSERT, UPDATE ON checkout_sessions, idempotency_keys TO np_customer;
GRANT UPDATE (full_name, company_name, updated_at) ON users TO np_customer;
GRANT INSERT ON audit_log TO np_customer;

REVOKE EXECUTE ON FUNCTION np_create_payment_partitions(date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION np_create_payment_partitions(date, integer) TO np_system;

-- The user a session speaks for. A committed SET LOCAL leaves '' behind, which is no uuid: hence nullif.
CREATE FUNCTION np_current_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('np.user_id', true), '')::uuid
$$;

DO $$
DECLARE
    owned text;
BEGIN
    FOR owned IN
        SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY own_rows ON %I TO np_customer USING (user_id = (SELECT np_current_user()))
            WITH CHECK (user_id = (SELECT np_current_user()))', owned);
        EXECUTE format('CREATE POLICY every_row ON %I TO np_staff, np_system USING (true) WITH CHECK (true)', owned);
    END LOOP;
END $$;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON users TO np_customer USING (id = (SELECT np_current_user()))
    WITH CHECK (id = (SELECT np_current_user()));
CREATE POLICY every_row ON users TO np_staff, np_system USING (true) WITH CHECK (true);
