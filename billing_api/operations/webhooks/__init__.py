"""Events from outside: verified, stored, worked off."""
