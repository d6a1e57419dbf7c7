"""The job queue: dispatch, retries, arq, and what is due at fixed times."""
