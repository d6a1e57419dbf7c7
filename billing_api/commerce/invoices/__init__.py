"""Invoices: as Stripe has them, mirrored, with what they add up from, their PDF, and the customer's balance."""
