"""The embedded queue: one SQLite file, several named queues, several processes.

The standard library only, so that the webhook entry can use it as well. Messages come in the
order in which they fell due; `Outgoing.group` is not looked at, for the relay takes turns between
tenants before anything gets here.
"""

from outdial.adapters.sqlite_queue.file import QueueFile
from outdial.adapters.sqlite_queue.queue import SQLiteQueue

__all__ = ["QueueFile", "SQLiteQueue"]
