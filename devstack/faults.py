"""Why the devstack cannot do what a person asked for."""


class CannotStart(Exception):
    """One line for the person at the terminal: what is wrong, and what to do about it. Never a traceback."""
