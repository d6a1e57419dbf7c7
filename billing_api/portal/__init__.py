"""Portal: what reads across domains for one person, so that a page needs one call."""
