"""Credentials: password and e-mail address, how they are checked, changed and recovered."""
