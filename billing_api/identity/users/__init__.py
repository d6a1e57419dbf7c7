"""Everybody with a login, as staff see and change them; and what was done to an account, as its owner sees it."""
