"""Personal data: export and deletion of everything held about a user, except for what the law wants kept.

Both follow `inventory.py`, which says of every table what is shown and what becomes of its rows. A deletion is one
transaction; what is left over is swept up each night (`aftermath.py`, started by `workers/jobs/periodic.py`).
"""
