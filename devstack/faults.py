"""Failures of the devstack that are told to the person who started it."""


class CannotStart(Exception):
    """One line for the person at the terminal: what is wrong, and what to do about it. Never a traceback."""
