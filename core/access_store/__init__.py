"""Access store: session cache and rate limits in Redis, which the API reads at each request."""
