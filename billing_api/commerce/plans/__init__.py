"""Plans (product catalog): the plans on sale, and their prices at Stripe."""
