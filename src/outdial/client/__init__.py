"""A small typed client of the Voice API.

    async with Client("http://127.0.0.1:8001", "KEY") as client:
        placed = await client.place(CallRequest("+14155550123", campaign="night-nurses"))
        async for entry in client.follow(placed.id):
            print(entry.at, entry.kind)

Everything that goes wrong is one exception, `ApiError`, and carries the API's problem details.
What may be repeated safely is repeated: every call placed has an idempotency key, the caller's or
one made here, so a lost connection never places a call twice.
"""

from outdial.client.api import Client
from outdial.client.problems import ApiError, Fault, Problem
from outdial.client.records import (
    ENDS,
    Attempt,
    BatchAnswer,
    Call,
    CallRequest,
    Page,
    Pause,
    Placed,
    TimelineEntry,
)

__all__ = [
    "ENDS",
    "ApiError",
    "Attempt",
    "BatchAnswer",
    "Call",
    "CallRequest",
    "Client",
    "Fault",
    "Page",
    "Pause",
    "Placed",
    "Problem",
    "TimelineEntry",
]
