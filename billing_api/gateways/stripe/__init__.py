"""Stripe: the calls, what is read from its objects, and changes of subscriptions."""
