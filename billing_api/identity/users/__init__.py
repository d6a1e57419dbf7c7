"""User administration by staff: search, suspend, give roles, impersonate; and the events that the owner may see."""
