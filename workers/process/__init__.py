"""Tools of the process: supervision, locks, connections to Redis, metrics, the status server."""
