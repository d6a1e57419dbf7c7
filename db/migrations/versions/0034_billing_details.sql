-- To whom a customer's invoices are made out. None: to the account's own name and address.
CREATE TABLE billing_details (
    user_id UUID NOT NULL,
    name TEXT NOT NULL,
    company TEXT,
    address JSONB,
    tax_ids JSONB NOT NULL,
    email TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_billing_details PRIMARY KEY (user_id),
    CONSTRAINT fk_billing_details_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
-- Written by the application, with the job that carries it to Stripe.
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_details TO np_system;
GRANT SELECT ON billing_details TO np_customer, np_staff;
ALTER TABLE billing_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON billing_details TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON billing_details TO np_staff, np_system USING (true) WITH CHECK (true);
