"""Second factor (TOTP): an authenticator app, its recovery codes, and the challenge between password and session."""
