"""Tools of the process itself: supervision, locks, connections to Redis, metrics, the status server."""
