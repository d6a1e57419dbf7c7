"""The data that answers come from: near cache, license hashes, API keys, and how stale they may be."""
