"""Accounts: registration, sign-in, refreshing a sign-in, and the profile of the user."""
