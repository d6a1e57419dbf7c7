"""One customer as staff look at it: everything in one answer, verdicts explained, notes."""
