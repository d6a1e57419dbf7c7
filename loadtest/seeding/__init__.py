"""Licenses by the million: made in bulk, written with COPY, projected by their writer, and removed again."""
