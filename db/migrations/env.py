"""Alembic's environment: one transaction for all pending migrations, and a lock it does not wait for long.

`lock_timeout` keeps a migration that cannot get its table from making every query behind it wait as well.
"""

from alembic import context
from sqlalchemy import Connection, text

from db.models.all_tables import METADATA

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, compare_type=True)

with context.begin_transaction():
    connection.execute(text("SET LOCAL lock_timeout = '4s'"))
    context.run_migrations()
