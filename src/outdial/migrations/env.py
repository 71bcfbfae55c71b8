"""Alembic's entry: runs migrations on the connection it is handed, each in a transaction.

Where a transaction was begun already (SQLite), they are part of it.
"""

from alembic import context

from outdial.adapters.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
