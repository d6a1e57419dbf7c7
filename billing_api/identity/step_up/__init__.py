"""Step-up: recent re-authentication within a session, for actions that a browser left open must not allow."""
