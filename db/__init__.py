"""PostgreSQL: the truth. Engine, unit of work, outbox, inbox, models and migrations."""
