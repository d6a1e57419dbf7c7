"""Everything about one customer in one answer, for staff."""
