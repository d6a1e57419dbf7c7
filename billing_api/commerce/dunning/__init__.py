"""Dunning: the steps after a renewal that was not paid, by the billing policy, and notices before renewals."""
