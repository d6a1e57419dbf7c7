"""Buying a licence: from a plan to a paid Stripe Checkout Session."""
