"""Licenses by the million: made in bulk, written with COPY, projected by whoever wrote them, and removed again."""
