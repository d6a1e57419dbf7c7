"""The mail relay, over SMTP."""
