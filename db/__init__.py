"""PostgreSQL, the source of truth: engine, unit of work, outbox, inbox, models and migrations."""
