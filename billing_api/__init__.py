"""The billing API: commerce, accounts and admin. PostgreSQL is its truth; one folder for each domain."""
