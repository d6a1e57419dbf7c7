"""A customer's invoices and payments, as Stripe last told."""
