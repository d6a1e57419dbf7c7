"""The ways out: Stripe, NextPanel, mail. Each a Protocol of what we ask, and its adapter."""
