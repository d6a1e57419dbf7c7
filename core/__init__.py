"""Core: rules, formats and contracts that every process shares. It imports nothing else of the project."""
