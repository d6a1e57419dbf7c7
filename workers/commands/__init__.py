"""Commands for operators, each `python -m workers.commands.NAME`."""
