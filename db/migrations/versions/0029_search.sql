-- What staff search by. An installation with many customers makes these indexes beforehand, CONCURRENTLY and under the
-- same names (docs/operations.md): here they would keep writers waiting.

-- A trusted extension of PostgreSQL's own: the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- All that a person is looked for by, folded as the application folds what it looks for (core/mailbox.py). The address as
-- typed is in it where its name differs: a domain in Punycode.
CREATE OR REPLACE FUNCTION np_person_text(email_key text, email text, full_name text, company_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(normalize(email_key || chr(10) || full_name || chr(10) || coalesce(company_name, '')
        || CASE WHEN lower(email) = email_key THEN '' ELSE chr(10) || email END, NFKC))
$$;
CREATE INDEX IF NOT EXISTS ix_users_person_text ON users
    USING gin (np_person_text(email_key, email, full_name, company_name) gin_trgm_ops);
CREATE INDEX IF NOT EXISTS ix_users_created_at ON users (created_at, id);

CREATE INDEX IF NOT EXISTS ix_invoices_number ON invoices (upper(number) text_pattern_ops);

CREATE INDEX IF NOT EXISTS ix_webhook_events_created_at ON webhook_events (created_at, id);
CREATE INDEX IF NOT EXISTS ix_webhook_events_event_type ON webhook_events (event_type, created_at, id);

-- Projection's jobs are deleted when they are done: of its kinds there are few rows.
CREATE INDEX IF NOT EXISTS ix_outbox_kind ON outbox ((job ->> 'type'), id) WHERE lane = 'partner';
CREATE INDEX IF NOT EXISTS ix_outbox_dead ON outbox (id) WHERE dead_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_outbox_created_at ON outbox (created_at);
