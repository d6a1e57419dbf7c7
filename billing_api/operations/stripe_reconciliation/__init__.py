"""Reconciliation with Stripe: finds what no webhook told, every five minutes and by a command."""
