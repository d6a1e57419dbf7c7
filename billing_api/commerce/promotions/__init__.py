"""Promotions: coupons, and the promotion codes that customers type; both are kept by Stripe alone."""
