"""What customers use, as NextPanel reports it."""
