"""Development stack on one machine: PostgreSQL, Valkey, simulated partners, and the supervisor behind `make up`."""
