"""OAuth 2.0 for integrators: programs that read a customer's account within scopes, without his password."""
