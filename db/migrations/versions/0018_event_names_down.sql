ALTER TABLE usage_events DROP CONSTRAINT pk_usage_events;
ALTER TABLE usage_events
    ADD CONSTRAINT uq_usage_events_license_id_idempotency_key UNIQUE (license_id, idempotency_key);
ALTER TABLE usage_events ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE usage_events ALTER COLUMN id DROP DEFAULT;
ALTER TABLE usage_events ADD CONSTRAINT pk_usage_events PRIMARY KEY (id);
