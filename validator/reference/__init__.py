"""The OpenAPI document of the validator, and the advice in it."""
