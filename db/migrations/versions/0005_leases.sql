-- A licence's lease, written by workers only. A new one takes the old one's place twice a day, and no index but that of
-- the key has to hear of it: pages keep room for the new row (a heap-only update).
CREATE TABLE leases (
    license_id UUID NOT NULL,
    user_id UUID NOT NULL,
    version BIGINT NOT NULL,
    not_after TIMESTAMP WITH TIME ZONE NOT NULL,
    token TEXT NOT NULL,
    kid TEXT NOT NULL,
    signed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (license_id),
    CONSTRAINT fk_leases_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT fk_leases_user_id FOREIGN KEY(user_id) REFERENCES users (id)
) WITH (fillfactor = 70);
CREATE INDEX ix_leases_user_id ON leases (user_id);

CREATE TABLE lease_keys (
    kid TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    published_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_lease_keys PRIMARY KEY (kid)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON leases, lease_keys TO np_system;
GRANT SELECT ON leases TO np_staff, np_customer;

ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON leases TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON leases TO np_staff, np_system USING (true) WITH CHECK (true);
