"""Sessions and rate limits in Redis, as the API asks for them at each request."""
