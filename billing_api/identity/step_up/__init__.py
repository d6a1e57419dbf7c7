"""Step-up: a signed-in user authenticates again, for actions that a forgotten browser must not allow."""
