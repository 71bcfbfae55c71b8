"""Logs and metrics that the stages share. They name ids, never people.

Logs go to stderr: JSON lines, or coloured text where a person watches a terminal. What libraries
log by `logging` comes out the same way.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator
from typing import Literal, TextIO

import orjson
import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, Processor, WrappedLogger

#: Fields about people: dropped from every line, should one ever be logged.
PERSONAL = frozenset(
    {
        "to_number",
        "from_number",
        "dynamic_variables",
        "metadata",
        "transcript",
        "call_summary",
        "recording_url",
        "name",
        "email",
    }
)

CALLS_ACCEPTED = Counter(
    "outdial_calls_accepted_total", "Calls made durable, or replayed.", ["route", "result"]
)
HINTS_PUBLISHED = Counter(
    "outdial_hints_published_total", "Due calls sent to the call queue.", ["stage"]
)
HINTS_FAILED = Counter(
    "outdial_hints_failed_total", "Due calls the call queue did not take.", ["stage"]
)
DIALS = Counter("outdial_dials_total", "Submissions to Retell by their answer.", ["result"])
PROVIDER_EVENTS = Counter(
    "outdial_provider_events_total", "Provider events processed.", ["event", "disposition"]
)
DELIVERIES = Counter(
    "outdial_activity_deliveries_total", "Activity events sent to the sink.", ["result"]
)
WAREHOUSE_ROWS = Counter("outdial_warehouse_rows_total", "Rows loaded.", ["table"])
ASKED = Counter(
    "outdial_reconciliation_asked_total", "Questions to Retell about silent calls.", ["answer"]
)
DRIFT = Counter(
    "outdial_drift_total", "Where Retell and the ledger were found to differ.", ["kind"]
)
ALARMS = Counter("outdial_alarms_total", "What must never happen, and did.", ["alarm"])
QUEUE_MESSAGES = Gauge("outdial_queue_messages", "Messages in a queue.", ["queue", "state"])
PERMITS_FREE = Gauge("outdial_permits_free", "Calls that may be dialed at once.")
DIALING_STOPPED = Gauge(
    "outdial_dialing_stopped", "1 while nothing is dialed (or one call, as a probe).", ["cause"]
)
UNKNOWN = Gauge("outdial_attempts_unknown", "Submissions whose fate is not known.")
UNKNOWN_SECONDS = Gauge(
    "outdial_attempts_unknown_oldest_seconds", "For how long the oldest of them is not known."
)
LOOP_LAG = Gauge("outdial_loop_lag_seconds", "How late the event loop woke up, last looked at.")
REQUESTS = Histogram(
    "outdial_http_request_seconds",
    "HTTP requests until their answer ended.",
    ["service", "method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)

_LAG_SECONDS = 1.0


def set_up_logging(
    level: Literal["debug", "info", "warning", "error"] = "info", stream: TextIO | None = None
) -> None:
    """Send every log line to `stream` (stderr), from structlog and from `logging` alike."""
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _drop_people,
    ]
    renderers: list[Processor]
    if target.isatty():
        plain = structlog.dev.plain_traceback  # a rich one would print local variables
        renderers = [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        renderers = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # libraries speak when something is wrong
    logging.getLogger("outdial").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@contextlib.asynccontextmanager
async def watching_loop() -> AsyncIterator[None]:
    """Measure, while the context lasts, how late the event loop is."""
    task = asyncio.create_task(_watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _watch() -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(_LAG_SECONDS)
        LOOP_LAG.set(max(time.monotonic() - before - _LAG_SECONDS, 0.0))


def _drop_people(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for field in PERSONAL & event.keys():
        del event[field]
    return event


def _dumps(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
