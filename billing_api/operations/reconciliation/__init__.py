"""Reconciliation for staff: every comparison of Redis with PostgreSQL, and the differences it found."""
