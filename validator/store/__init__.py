"""Store: where answers come from (near cache, Redis, API keys), and how stale they may be."""
