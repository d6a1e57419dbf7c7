"""Composition root: builds every service once and passes it its dependencies."""
