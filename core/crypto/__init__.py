"""Cryptography: request signatures, encrypted secrets, keyed hashes, signed leases, the audit chain."""
