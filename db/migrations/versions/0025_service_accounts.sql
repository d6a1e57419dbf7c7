CREATE TABLE service_accounts (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    scopes JSONB NOT NULL,
    networks JSONB DEFAULT '[]' NOT NULL,
    secret_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    previous_until TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    last_used_address TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_service_accounts PRIMARY KEY (id),
    CONSTRAINT ck_service_accounts_networks CHECK (np_are_networks(networks))
);
-- The audit trail calls an account by its name, so no two that live have the same one.
CREATE UNIQUE INDEX uq_service_accounts_live_name ON service_accounts (name) WHERE revoked_at IS NULL;

-- Staff read names, for the audit trail. Only the application reads hashes, and only it writes.
GRANT SELECT, INSERT, UPDATE ON service_accounts TO np_system;
GRANT SELECT (id, name, scopes, networks, previous_until, revoked_at, last_used_at, last_used_address, created_at)
    ON service_accounts TO np_staff;
ALTER TABLE service_accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_row ON service_accounts TO np_staff, np_system USING (true) WITH CHECK (true);
