"""The schema's history, and what a migration needs that runs while calls are being dialed."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op


@contextmanager
def beside_writers() -> Iterator[None]:
    """Around `op.create_index(…, postgresql_concurrently=True, if_not_exists=True)`.

    An index on a table that exists is built without stopping its writers, which PostgreSQL does
    only outside of a transaction. What comes before in the migration is committed.
    """
    context = op.get_context()
    if context.dialect.name == "postgresql":
        with context.autocommit_block():
            yield
    else:
        yield
