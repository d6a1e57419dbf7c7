"""What every process must agree on: rules, formats, contracts. Imports nothing else of the project."""
