"""The calls of NextPanel: verdicts, quota questions and reservations."""
