"""Access control: access tokens, permissions, rate limits, and who calls from where. It knows no domain."""
