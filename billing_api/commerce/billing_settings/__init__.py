"""Billing settings: the seller's policy for unpaid invoices, refunds and disputes, as administrators set it."""
