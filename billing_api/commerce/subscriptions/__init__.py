"""A customer's subscriptions, as Stripe last told."""
