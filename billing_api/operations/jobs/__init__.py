"""The outbox as an admin sees it: what waits, what died, and another try."""
