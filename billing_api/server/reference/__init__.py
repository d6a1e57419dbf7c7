"""OpenAPI document and docs/api.md, made from the handlers, their docstrings and the structs of their bodies."""
