"""Commands of `python -m billing_api`."""
