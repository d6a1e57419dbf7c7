"""Simulated users of a running stack (Locust): NextPanel's servers, customers, administrators."""
