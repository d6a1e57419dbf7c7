"""Simulated users of a running stack: NextPanel's servers, customers, administrators. Locust users."""
