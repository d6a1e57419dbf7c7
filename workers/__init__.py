"""Worker processes: the relay that keeps Redis equal to PostgreSQL, and the jobs at partners."""
