"""Payments: a customer's invoices and payments, as last read from Stripe."""
