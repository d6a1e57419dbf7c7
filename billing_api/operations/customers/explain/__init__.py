"""Verdicts explained: every rule as PostgreSQL has its input, and as Redis has it."""
