"""One machine stands in for the world: PostgreSQL, Valkey, simulated partners, and the supervisor behind `make up`."""
