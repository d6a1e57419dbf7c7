-- What somebody typed to register an address, until the link of that registration's own mail is followed.
CREATE TABLE registrations (
    token_hash BYTEA NOT NULL,
    user_id UUID NOT NULL,
    password_hash TEXT NOT NULL,
    full_name TEXT NOT NULL,
    company_name TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_registrations PRIMARY KEY (token_hash),
    CONSTRAINT fk_registrations_token_hash FOREIGN KEY(token_hash) REFERENCES one_time_tokens (token_hash)
        ON DELETE CASCADE,
    CONSTRAINT fk_registrations_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_registrations_user_id ON registrations (user_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON registrations TO np_system;

ALTER TABLE registrations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON registrations TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON registrations TO np_staff, np_system USING (true) WITH CHECK (true);

-- Of links that were mailed before, all of one account confirmed the same password. Where there are several, nobody can
-- tell whose it is: they end, and the address is registered again. The others keep what they were mailed for.
UPDATE one_time_tokens AS token SET used_at = now()
WHERE purpose = 'verify_email' AND used_at IS NULL AND EXISTS (
    SELECT 1 FROM one_time_tokens AS other
    WHERE other.user_id = token.user_id AND other.purpose = 'verify_email' AND other.token_hash <> token.token_hash);

INSERT INTO registrations (token_hash, user_id, password_hash, full_name, company_name)
SELECT token.token_hash, users.id, users.password_hash, users.full_name, users.company_name
FROM one_time_tokens AS token JOIN users ON users.id = token.user_id
WHERE token.purpose = 'verify_email' AND token.used_at IS NULL AND users.email_verified_at IS NULL;
