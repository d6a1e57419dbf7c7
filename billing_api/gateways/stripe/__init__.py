"""Stripe gateway: the API calls, the facts read from Stripe's objects, and changes of subscriptions."""
