-- Staff look for a payment by the charge that Stripe or a bank names.
CREATE INDEX ix_payments_stripe_charge_id ON payments (stripe_charge_id);

-- Payments from before 0035 said which invoice they pay in words alone.
UPDATE payments SET invoice_id = invoices.id
    FROM invoices
    WHERE payments.invoice_id IS NULL AND invoices.user_id = payments.user_id
        AND payments.description = 'Invoice ' || coalesce(invoices.number, invoices.stripe_invoice_id);
