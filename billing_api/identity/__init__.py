"""Identity: accounts, sign-in, sessions, second factors, and the OAuth clients of customers."""
