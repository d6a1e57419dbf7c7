"""Credentials: the password and the e-mail address of a user, and how they are checked, changed and recovered."""
