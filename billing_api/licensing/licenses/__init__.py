"""Licenses: issued, shown, suspended, resumed."""
