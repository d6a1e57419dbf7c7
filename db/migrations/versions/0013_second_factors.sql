-- Second factors, and clients that act for their owners. What proves a sign-in is read by the application alone: like
-- sessions, these tables are hidden from customers' and staff's own sessions, row security notwithstanding.

-- How the last authentication was made (RFC 8176), and how often it was tried in vain to make it anew.
ALTER TABLE sessions ADD COLUMN amr JSONB DEFAULT '["pwd"]' NOT NULL;

CREATE TABLE totp_factors (
    user_id UUID NOT NULL,
    secret BYTEA NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    last_step BIGINT,
    failures INTEGER DEFAULT 0 NOT NULL,
    blocked_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_totp_factors PRIMARY KEY (user_id),
    CONSTRAINT fk_totp_factors_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE recovery_codes (
    code_hash BYTEA NOT NULL,
    user_id UUID NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (code_hash),
    CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_recovery_codes_user_id ON recovery_codes (user_id);

CREATE TABLE sign_in_challenges (
    token_hash BYTEA NOT NULL,
    user_id UUID NOT NULL,
    password_mark BYTEA NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sign_in_challenges PRIMARY KEY (token_hash),
    CONSTRAINT fk_sign_in_challenges_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_sign_in_challenges_user_id ON sign_in_challenges (user_id);

CREATE TABLE oauth_clients (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    name TEXT NOT NULL,
    scopes JSONB NOT NULL,
    secret_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    previous_until TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_oauth_clients PRIMARY KEY (id),
    CONSTRAINT fk_oauth_clients_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_oauth_clients_user_id ON oauth_clients (user_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON totp_factors, recovery_codes, sign_in_challenges, oauth_clients TO np_system;

-- A client's owner makes and ends it in his own name; its secret's hash is compared by the application alone.
GRANT SELECT (id, user_id, name, scopes, previous_until, revoked_at, created_at) ON oauth_clients
    TO np_customer, np_staff;
GRANT INSERT ON oauth_clients TO np_customer;
GRANT UPDATE (secret_hash, previous_hash, previous_until, revoked_at) ON oauth_clients TO np_customer;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['totp_factors', 'recovery_codes', 'sign_in_challenges', 'oauth_clients'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY own_rows ON %I TO np_customer USING (user_id = (SELECT np_current_user()))
            WITH CHECK (user_id = (SELECT np_current_user()))', owned);
        EXECUTE format('CREATE POLICY every_row ON %I TO np_staff, np_system USING (true) WITH CHECK (true)', owned);
    END LOOP;
END $$;
