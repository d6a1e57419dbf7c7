"""The audit trail: its hash chain is sealed, and proved."""
