"""Rebuild: fills Redis again where data are missing, or come from an earlier run of its server."""
