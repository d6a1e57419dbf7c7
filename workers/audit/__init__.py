"""The audit trail's hash chain: sealing and proof."""
