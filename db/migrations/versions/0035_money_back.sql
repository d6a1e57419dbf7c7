-- Money that goes back: refunds, ours and those made at Stripe, and disputes.
CREATE TYPE refund_status AS ENUM ('pending', 'succeeded', 'failed', 'cancelled');
CREATE TYPE refund_origin AS ENUM ('staff', 'stripe', 'after_end');
CREATE TYPE license_effect AS ENUM ('keep', 'suspend', 'end');

-- `refunded` is what went back or is on its way.
ALTER TABLE payments
    ADD COLUMN invoice_id UUID,
    ADD COLUMN stripe_charge_id TEXT,
    ADD COLUMN refunded BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN failure_code TEXT,
    ADD COLUMN failure_message TEXT,
    ADD CONSTRAINT fk_payments_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id);
CREATE INDEX ix_payments_invoice_id ON payments (invoice_id);
CREATE INDEX ix_payments_created_at ON payments (created_at, id);

-- When it ended, or was decided to end: what is paid for a later time goes back.
ALTER TABLE subscriptions
    ADD COLUMN ended_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN paused_for_dispute BOOLEAN DEFAULT false NOT NULL;

-- No foreign key to payments: a partition that a key leads to could not be detached. payment_created_at names it.
CREATE TABLE refunds (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    payment_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    license_id UUID,
    stripe_refund_id TEXT,
    origin refund_origin NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    status refund_status NOT NULL,
    reason TEXT,
    note TEXT,
    actor_id UUID,
    effect license_effect,
    effect_at TIMESTAMP WITH TIME ZONE,
    undone_at TIMESTAMP WITH TIME ZONE,
    failure TEXT,
    sent_at TIMESTAMP WITH TIME ZONE,
    send_generation INTEGER DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_refunds PRIMARY KEY (id),
    CONSTRAINT uq_refunds_stripe_refund_id UNIQUE (stripe_refund_id),
    CONSTRAINT fk_refunds_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_refunds_license_id FOREIGN KEY(license_id) REFERENCES licenses (id),
    CONSTRAINT ck_refunds_amount CHECK (amount > 0)
);
CREATE INDEX ix_refunds_payment_id ON refunds (payment_id, created_at);
CREATE INDEX ix_refunds_user_id ON refunds (user_id);
CREATE INDEX ix_refunds_license_id ON refunds (license_id);
-- What came for something that had ended goes back once for each payment.
CREATE UNIQUE INDEX uq_refunds_after_end ON refunds (payment_id) WHERE origin = 'after_end';

CREATE TABLE disputes (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    payment_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    license_id UUID,
    stripe_dispute_id TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    due_by TIMESTAMP WITH TIME ZONE,
    has_evidence BOOLEAN NOT NULL,
    submissions INTEGER NOT NULL,
    effect license_effect,
    effect_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_disputes PRIMARY KEY (id),
    CONSTRAINT uq_disputes_stripe_dispute_id UNIQUE (stripe_dispute_id),
    CONSTRAINT fk_disputes_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_disputes_license_id FOREIGN KEY(license_id) REFERENCES licenses (id)
);
CREATE INDEX ix_disputes_payment_id ON disputes (payment_id, created_at);
CREATE INDEX ix_disputes_user_id ON disputes (user_id);
CREATE INDEX ix_disputes_license_id ON disputes (license_id);
CREATE INDEX ix_disputes_created_at ON disputes (created_at, id);

-- Notes of staff are for staff; an owner reads what went back and why.
GRANT SELECT, INSERT, UPDATE, DELETE ON refunds, disputes TO np_system;
GRANT SELECT ON refunds, disputes TO np_staff;
GRANT SELECT (id, user_id, payment_id, payment_created_at, license_id, stripe_refund_id, amount, currency, status, reason,
    failure, created_at) ON refunds TO np_customer;
GRANT SELECT ON disputes TO np_customer;
ALTER TABLE refunds ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON refunds TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON refunds TO np_staff, np_system USING (true) WITH CHECK (true);
ALTER TABLE disputes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON disputes TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON disputes TO np_staff, np_system USING (true) WITH CHECK (true);
