-- Why a license is suspended: a row for each cause, open until `ended_at`. A license has at most one open row of a cause.
CREATE TYPE suspension_cause AS ENUM ('unpaid', 'disputed', 'refunded', 'staff');
CREATE TABLE license_suspensions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    license_id UUID NOT NULL,
    cause suspension_cause NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT,
    message TEXT,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_license_suspensions PRIMARY KEY (id),
    CONSTRAINT fk_license_suspensions_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_license_suspensions_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT fk_license_suspensions_license_id_user_id FOREIGN KEY(license_id, user_id)
        REFERENCES licenses (id, user_id)
);
CREATE INDEX ix_license_suspensions_license_id ON license_suspensions (license_id, since);
CREATE INDEX ix_license_suspensions_user_id ON license_suspensions (user_id);
CREATE UNIQUE INDEX uq_license_suspensions_open ON license_suspensions (license_id, cause) WHERE ended_at IS NULL;

-- The reason is for staff alone, as on licenses.
GRANT SELECT, INSERT, UPDATE, DELETE ON license_suspensions TO np_system;
GRANT SELECT, INSERT, UPDATE ON license_suspensions TO np_staff;
GRANT SELECT (id, user_id, license_id, cause, since, message, ended_at) ON license_suspensions TO np_customer;
ALTER TABLE license_suspensions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON license_suspensions TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON license_suspensions TO np_staff, np_system USING (true) WITH CHECK (true);

-- Licenses that are suspended today: staff suspended those that have their words or their line in the audit trail.
INSERT INTO license_suspensions (id, user_id, license_id, cause, since, reason, message)
    SELECT gen_random_uuid(), user_id, id,
        CASE WHEN status_reason IS NOT NULL OR status_message IS NOT NULL OR by_staff.at IS NOT NULL
             THEN 'staff' ELSE 'unpaid' END::suspension_cause,
        coalesce(by_staff.at, updated_at), status_reason, status_message
    FROM licenses LEFT JOIN LATERAL (
        SELECT max(at) AS at FROM audit_log
        WHERE target_kind = 'license' AND target_id = licenses.id::text AND action = 'license.suspended_by_admin'
    ) AS by_staff ON true
    WHERE status = 'suspended';

-- How often the license was bought again: each time NextPanel makes another account, under another idempotency key.
ALTER TABLE licenses ADD COLUMN account_generation INTEGER DEFAULT 0 NOT NULL;
