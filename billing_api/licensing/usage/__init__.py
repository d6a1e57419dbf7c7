"""Usage: what customers use, as NextPanel reports it."""
