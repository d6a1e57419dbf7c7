"""Stripe customers: the one that a user is at Stripe, created when it is first needed."""
