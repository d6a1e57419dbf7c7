"""Sessions: sign-ins with rotating refresh tokens, checked on every request, listed and ended by their owner."""
