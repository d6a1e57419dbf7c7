"""Refunds: ordered by administrators as rows, sent to Stripe by workers, then mirrored."""
