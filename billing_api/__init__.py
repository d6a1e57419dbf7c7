"""The billing API: commerce, accounts and administration.

PostgreSQL is the truth. There is one folder for each room; docs/architecture.md describes them.
"""
