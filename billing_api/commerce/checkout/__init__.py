"""Checkout: a purchase of a license, from a plan to a paid Stripe Checkout Session."""
