CREATE TABLE reconciliation_runs (
    id UUID NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    licenses BIGINT DEFAULT 0 NOT NULL,
    api_keys BIGINT DEFAULT 0 NOT NULL,
    records BIGINT DEFAULT 0 NOT NULL,
    totals BIGINT DEFAULT 0 NOT NULL,
    events BIGINT DEFAULT 0 NOT NULL,
    differences BIGINT DEFAULT 0 NOT NULL,
    repaired BIGINT DEFAULT 0 NOT NULL,
    undecided BIGINT DEFAULT 0 NOT NULL,
    error TEXT,
    CONSTRAINT pk_reconciliation_runs PRIMARY KEY (id),
    CONSTRAINT ck_reconciliation_runs_cause CHECK (cause IN ('schedule', 'command')),
    CONSTRAINT ck_reconciliation_runs_state CHECK (state IN ('running', 'agreed', 'repaired', 'differing', 'failed'))
);
CREATE INDEX ix_reconciliation_runs_started_at ON reconciliation_runs (started_at);

CREATE TABLE reconciliation_differences (
    id UUID NOT NULL,
    run_id UUID NOT NULL,
    subject TEXT NOT NULL,
    fault TEXT NOT NULL,
    name TEXT NOT NULL,
    license_id UUID,
    expected TEXT,
    found TEXT,
    outcome TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_reconciliation_differences PRIMARY KEY (id),
    CONSTRAINT fk_reconciliation_differences_run_id FOREIGN KEY(run_id)
        REFERENCES reconciliation_runs (id) ON DELETE CASCADE
);
CREATE INDEX ix_reconciliation_differences_run_id ON reconciliation_differences (run_id);

-- No customer's business: staff read, the workers write.
GRANT SELECT, INSERT, UPDATE, DELETE ON reconciliation_runs, reconciliation_differences TO np_system;
GRANT SELECT ON reconciliation_runs, reconciliation_differences TO np_staff;

-- An API key's bucket, as core/hotstore/keys.py has it: the first byte of SHA-256 of its id. The 'escape' format is the
-- text's own bytes but for backslashes; convert_to would be no expression for an index, for it is not immutable.
CREATE FUNCTION np_api_key_bucket(key_id text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT get_byte(sha256(decode(replace(key_id, '\', '\\'), 'escape')), 0)
$$;

CREATE INDEX ix_api_keys_bucket ON api_keys (np_api_key_bucket(key_id));
