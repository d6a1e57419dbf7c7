"""Leases, as Postgres keeps them: which are due, what was signed, which keys the world may check them with."""
