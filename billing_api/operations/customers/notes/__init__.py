"""Notes of staff about a customer, for staff alone; erased with the account."""
