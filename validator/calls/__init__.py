"""Calls of NextPanel: verdicts, reservations and leases, with their wire format and access checks."""
