"""The job queue: dispatch, retries, arq, and periodic tasks."""
