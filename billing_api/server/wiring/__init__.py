"""Composition root: builds every service once, and gives each what it needs."""
