"""Users with a login, for staff to see and change; and the history of an account, for its owner."""
