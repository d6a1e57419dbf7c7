"""The API process: its routes, the guard, the wiring, health, and what surrounds every handler."""
