-- One row: what the seller decides about unpaid invoices, refunds and disputes. None: the default of core/billing_policy.py.
CREATE TABLE billing_settings (
    only_row BOOLEAN DEFAULT true NOT NULL,
    policy JSONB NOT NULL,
    CONSTRAINT pk_billing_settings PRIMARY KEY (only_row),
    CONSTRAINT ck_billing_settings_only_row CHECK (only_row)
);
GRANT SELECT ON billing_settings TO np_system;
GRANT SELECT, INSERT, UPDATE ON billing_settings TO np_staff;
