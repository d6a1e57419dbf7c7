"""Reconciliation: PostgreSQL and Redis are compared every minute, and differences repaired."""
