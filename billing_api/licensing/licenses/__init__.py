"""Licences: issued, shown, suspended, resumed."""
