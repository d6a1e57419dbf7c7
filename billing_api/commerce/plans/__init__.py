"""Plans: limits, prices, and their publication at Stripe."""
