"""The projection: rows of PostgreSQL become records in Redis after each commit."""
