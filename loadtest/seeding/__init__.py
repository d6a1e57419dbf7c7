"""Seeding: licenses by the million, made in bulk, written with COPY, projected by their writers, and removed again."""
