"""Handlers of jobs, a file for each kind."""
