"""Redis: connections (RESP3), pipelines, circuit breaker, freshness of what was read, and the servers of a Cluster."""
