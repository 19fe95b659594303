"""How Alembic reaches the database: on the connection that `serving.db.migrate` has opened, in one transaction."""

from alembic import context
from sqlalchemy import text

from serving.db.tables import METADATA

#: Names the lock that two upgrades at once take turns by. Any number, as long as nobody else uses it.
_LOCK = 0x6175746F

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
