"""Request signatures, sealed secrets, keyed hashes and leases."""
