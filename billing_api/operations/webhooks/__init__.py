"""Inbound webhooks: events from outside are verified, stored, and processed later."""
