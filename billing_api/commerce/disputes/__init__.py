"""Disputes: what banks say about payments, as staff see and answer it."""
