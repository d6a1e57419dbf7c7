-- Activation tokens, keys of panels, the owner's view of a licence's trail, re-sealing in place, and the audit chain.

-- Kept as keyed hashes, like all tokens. A row stays after its use, so that a second use is known for what it is.
CREATE TABLE activation_tokens (
    token_hash BYTEA NOT NULL,
    license_id UUID NOT NULL,
    user_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_activation_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_activation_tokens_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT fk_activation_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_activation_tokens_license_id ON activation_tokens (license_id);
CREATE INDEX ix_activation_tokens_user_id ON activation_tokens (user_id);

ALTER TABLE activation_tokens ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON activation_tokens TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON activation_tokens TO np_staff, np_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON activation_tokens TO np_system;
GRANT SELECT ON activation_tokens TO np_staff, np_customer;
GRANT INSERT, UPDATE (expires_at) ON activation_tokens TO np_customer;

-- The panel that was activated with this key; NULL where a person made it.
ALTER TABLE api_keys ADD COLUMN instance_id UUID;

-- What an owner may change of what is his: never whose it is, what it may do, or how it stands.
GRANT UPDATE (license_key, license_key_hash, fingerprint, updated_at) ON licenses TO np_customer;
GRANT INSERT, UPDATE (key_hash, secret, previous_secret, previous_until, is_active) ON api_keys TO np_customer;

-- A key speaks for a licence of its own owner, whoever writes the row. Row security holds the user's id; this, the pair.
ALTER TABLE licenses ADD CONSTRAINT uq_licenses_id_user_id UNIQUE (id, user_id);
ALTER TABLE api_keys ADD CONSTRAINT fk_api_keys_license_id_user_id
    FOREIGN KEY (license_id, user_id) REFERENCES licenses (id, user_id);
ALTER TABLE activation_tokens ADD CONSTRAINT fk_activation_tokens_license_id_user_id
    FOREIGN KEY (license_id, user_id) REFERENCES licenses (id, user_id);

-- A licence's key that is sealed anew is the same key: nothing to project, no lease to sign. Of a million licences a
-- rotation of the key-encryption key would make a million of both.
DROP TRIGGER raise_version ON licenses;
CREATE TRIGGER raise_version BEFORE UPDATE ON licenses FOR EACH ROW
    WHEN (OLD.license_key = NEW.license_key
          OR to_jsonb(OLD) - 'license_key' IS DISTINCT FROM to_jsonb(NEW) - 'license_key')
    EXECUTE FUNCTION np_raise_version();

CREATE OR REPLACE FUNCTION np_project_license() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.version <> OLD.version THEN
        INSERT INTO public.outbox (lane, job) VALUES ('projection', jsonb_strip_nulls(jsonb_build_object(
            'type', 'project_license', 'license_id', NEW.id,
            'retired_hash', CASE WHEN TG_OP = 'UPDATE' AND OLD.license_key_hash <> NEW.license_key_hash
                                 THEN encode(OLD.license_key_hash, 'hex') END)));
    END IF;
    RETURN NULL;
END $$;

-- What an owner is shown of the trail: rows about his licences, who acted in a word, and of the detail only what is
-- named here. The view's own rights read the log; the customer's session has none on it but to add.
CREATE VIEW license_events WITH (security_barrier) AS
    SELECT audit_log.id, licenses.id AS license_id, audit_log.at, audit_log.action,
        CASE WHEN audit_log.actor_id IS NULL THEN 'system'
             WHEN audit_log.actor_id = licenses.user_id THEN 'owner' ELSE 'staff' END AS actor,
        (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(audit_log.detail)
         WHERE key IN ('plan', 'reason', 'before', 'after', 'key_id', 'name', 'permissions', 'expires_at',
                       'overlap_seconds', 'instance_id')) AS detail
    FROM licenses
    JOIN audit_log ON audit_log.target_kind = 'license' AND audit_log.target_id = licenses.id::text
    WHERE licenses.user_id = (SELECT np_current_user());
GRANT SELECT ON license_events TO np_customer;

-- The chain over the trail. A seal names its row and is no foreign key: it has to outlast the row it is evidence of.
CREATE TABLE audit_seals (
    position BIGINT NOT NULL,
    audit_id BIGINT NOT NULL,
    seal BYTEA NOT NULL,
    kid TEXT NOT NULL,
    sealed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_audit_seals PRIMARY KEY (position),
    CONSTRAINT uq_audit_seals_audit_id UNIQUE (audit_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_seals FOR EACH ROW EXECUTE FUNCTION np_refuse_change();

-- Rows that wait for their seal. It becomes visible with the row it names, so whoever sees it may seal that row.
CREATE TABLE audit_unsealed (
    audit_id BIGINT NOT NULL,
    CONSTRAINT pk_audit_unsealed PRIMARY KEY (audit_id)
);
INSERT INTO audit_unsealed (audit_id) SELECT id FROM audit_log;

CREATE FUNCTION np_await_seal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.audit_unsealed (audit_id) SELECT id FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER await_seal AFTER INSERT ON audit_log REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION np_await_seal();

GRANT SELECT, INSERT ON audit_seals TO np_system;
GRANT SELECT, DELETE ON audit_unsealed TO np_system;
GRANT SELECT ON audit_seals TO np_staff;

-- How staff search the trail.
CREATE INDEX ix_audit_log_at ON audit_log (at);
CREATE INDEX ix_audit_log_actor_id ON audit_log (actor_id);
CREATE INDEX ix_audit_log_action ON audit_log (action);
