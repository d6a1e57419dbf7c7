"""Guesses at passwords: each is counted before it is judged, so that nobody has many and nobody is locked out."""
