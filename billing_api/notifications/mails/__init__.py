"""Mails as they are written: a row and its job, in the transaction of what they tell of. Workers send them."""
