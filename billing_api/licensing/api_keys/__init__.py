"""API keys: the keys that sign NextPanel's calls."""
