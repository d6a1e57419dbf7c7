"""Stripe's objects made into our rows; the one place where money becomes a license."""
