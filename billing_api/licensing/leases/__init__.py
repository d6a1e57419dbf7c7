"""Offline licenses (leases) in PostgreSQL: which are due, which were signed, and the public keys that verify them."""
