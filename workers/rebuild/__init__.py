"""Rebuild: all of Redis is filled again where data are missing or come from another server."""
