"""Overview: what a customer's first page shows, in one call."""
