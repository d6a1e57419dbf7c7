-- When the first try to collect a renewal's invoice failed: the day 0 from which the steps after it are counted.
ALTER TABLE invoices ADD COLUMN first_failed_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX ix_invoices_first_failed_at ON invoices (first_failed_at)
    WHERE status = 'open' AND first_failed_at IS NOT NULL;
-- The steps that were taken, or passed over because a later one was due as well: one for each invoice and day.
CREATE TABLE dunning_steps (
    invoice_id UUID NOT NULL,
    day INTEGER NOT NULL,
    step TEXT NOT NULL,
    passed_over BOOLEAN NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE DEFAULT np_now() NOT NULL,
    CONSTRAINT pk_dunning_steps PRIMARY KEY (invoice_id, day),
    CONSTRAINT fk_dunning_steps_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);
GRANT SELECT, INSERT ON dunning_steps TO np_system;
GRANT SELECT ON dunning_steps TO np_staff;
ALTER TABLE dunning_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_row ON dunning_steps TO np_staff, np_system USING (true) WITH CHECK (true);
-- The end of the period of whose renewal the owner was told.
ALTER TABLE subscriptions ADD COLUMN renewal_told_for TIMESTAMP WITH TIME ZONE;
-- What the sweep of licenses that are over looks for.
CREATE INDEX ix_licenses_lapsing ON licenses (expiry_date) WHERE status = 'active' AND NOT auto_renew;
