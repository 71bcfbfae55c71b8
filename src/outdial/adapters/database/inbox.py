"""The inbox of provider events: `ports.inbox.Inbox` over the ledger's tables.

Inbox row, transition and activity events are one commit. An event is skipped as repeated only
when the very same bytes were processed before.
"""

import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Select, select, tuple_, update

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.kept_bodies import opened
from outdial.adapters.database.locked_rows import LockedAttempt
from outdial.adapters.database.recording import adopt, defer
from outdial.adapters.database.tables import provider_events
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import opening
from outdial.adapters.database.writes import write_new
from outdial.core.call import (
    Alarm,
    AttemptStatus,
    CallStatus,
    HeardAnalyzed,
    HeardEnded,
    SecondCall,
)
from outdial.core.retell_events import ProviderEvent, parse
from outdial.core.submission import Placed
from outdial.errors import Poison
from outdial.ports.inbox import Disposition, Incoming, StoredEvent, Taken
from outdial.provider_json import decode_webhook

_PAGE = 200
#: Transcripts compress well even at the lowest level, which costs the least.
_LEVEL = 1
#: Timestamps of events that were learned by asking, with and without an analysis; and of none.
_ASKED, _CONCLUDED, _NONE = -1, -2, -3


@dataclass(frozen=True, slots=True)
class _Event:
    """An event on its way into the ledger."""

    id: str
    incoming: Incoming
    parsed: ProviderEvent

    @property
    def timestamp(self) -> int:
        """When Retell sent it; what was learned by asking counts as older than any webhook."""
        if self.incoming.source == "webhook":
            return self.parsed.event_timestamp
        return _ASKED if self.parsed.analysed else _CONCLUDED

    @property
    def rank(self) -> tuple[int, str]:
        """Of two analyses of one attempt the greater wins."""
        return self.timestamp, self.incoming.sha256

    @property
    def concludes(self) -> bool:
        """An end without an analysis, which Retell has never told."""
        unheard = self.incoming.source == "asked" and not self.parsed.analysed
        return unheard and self.parsed.details is not None


class LedgerInbox:
    """See `ports.inbox.Inbox`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Every method is one transaction."""
        self._database = database
        self._clock = clock

    async def take(self, events: Sequence[Incoming]) -> list[Taken]:
        """See the port."""
        read = [read_event(incoming) for incoming in events]

        def work(connection: Connection) -> list[Taken]:
            return take_events(connection, self._clock, read)

        return await self._database.transact(work)

    async def seen(self, retell_call_id: str, event: str, sha256: str) -> bool:
        """See the port."""
        wanted = select(provider_events.c.processed_at).where(
            provider_events.c.id == _inbox_id(retell_call_id, event, sha256)
        )

        def look(connection: Connection) -> bool:
            return connection.execute(wanted).scalar_one_or_none() is not None

        return await self._database.read(look)

    async def replay(self, event_ids: Sequence[str]) -> list[Taken]:
        """See the port."""

        def work(connection: Connection) -> list[Taken]:
            rows = connection.execute(
                select(provider_events).where(provider_events.c.id.in_(event_ids))
            ).mappings()
            stored = {row["id"]: (row["disposition"], _stored(row)) for row in rows}
            found = [stored[event_id] for event_id in event_ids if event_id in stored]
            events = [event for _, event in found]
            taking = _Taking(connection, self._clock, events, again=True)
            taken = [taking.apply_again(event, before) for before, event in found]
            taking.mend()
            taking.flush()
            return taken

        return await self._database.transact(work)

    async def stored(
        self,
        *,
        call_id: str | None = None,
        event: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> AsyncIterator[list[StoredEvent]]:
        """See the port."""
        table = provider_events.c
        query = select(
            table.id,
            table.retell_call_id,
            table.event,
            table.received_at,
            table.call_id,
            table.disposition,
        ).order_by(table.received_at, table.id)
        if call_id is not None:
            query = query.where(table.call_id == call_id)
        if event is not None:
            query = query.where(table.event == event)
        if since is not None:
            query = query.where(table.received_at >= since)
        if until is not None:
            query = query.where(table.received_at < until)
        after: tuple[int, str] | None = None
        while True:
            page = query.limit(_PAGE)
            if after is not None:
                page = page.where(tuple_(table.received_at, table.id) > after)
            rows = await self._database.read(partial(_rows, page))
            if not rows:
                return
            yield [
                StoredEvent(
                    row.id,
                    row.retell_call_id,
                    row.event,
                    row.received_at,
                    row.call_id,
                    Disposition(row.disposition),
                )
                for row in rows
            ]
            after = (rows[-1].received_at, rows[-1].id)


def _rows(page: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(page).all()


def _inbox_id(retell_call_id: str, event: str, sha256: str) -> str:
    return hashlib.sha256(f"{retell_call_id}\n{event}\n{sha256}".encode()).hexdigest()[:32]


def read_event(incoming: Incoming) -> _Event:
    """Read a webhook's body. Raises `Poison` where it is none."""
    payload = decode_webhook(incoming.body)
    if payload is None:
        raise Poison("the webhook body is not a JSON object")
    parsed = parse(payload)
    return _Event(_inbox_id(parsed.retell_call_id, parsed.event, incoming.sha256), incoming, parsed)


def _stored(row: RowMapping) -> _Event:
    body = opened(row)
    if body is None:
        raise Poison("its body is not what was hashed as it came; `outdial audit` names all such")
    incoming = Incoming(
        body=body,
        sha256=row["sha256"],
        received_at=row["received_at"],
        source=row["source"],
    )
    return read_event(incoming)


def take_events(connection: Connection, clock: Clock, events: Sequence[_Event]) -> list[Taken]:
    """One transaction's work; see `ports.inbox.Inbox.take`."""
    taking = _Taking(connection, clock, events)
    fresh = taking.insert()
    results = []
    for event in events:
        if event.id in fresh:
            fresh.remove(event.id)
            results.append(taking.apply(event))
        else:
            results.append(Taken(Disposition.REPEATED, taking.call_id(event)))
    taking.flush()
    return results


class _Taking:
    """One transaction of the inbox: the calls of its events are locked before anything else."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        events: Sequence[_Event],
        *,
        again: bool = False,
    ) -> None:
        self._connection = connection
        self._events = events
        self._batch = Batch(*opening(connection, clock), again=again)
        ours = [event.parsed for event in events]
        self._batch.lock_attempts(
            connection,
            {parsed.attempt_id or "" for parsed in ours if self._may_be_ours(parsed)},
            {parsed.retell_call_id for parsed in ours},
        )

    def _may_be_ours(self, parsed: ProviderEvent) -> bool:
        return parsed.attempt_id is not None and parsed.deployment == self._batch.deployment

    def _attempt(self, event: _Event) -> LockedAttempt | None:
        parsed = event.parsed
        if not parsed.retell_call_id:
            # An attempt that took it for its id would have every other such event as its own.
            return None
        known = self._batch.by_retell_id.get(parsed.retell_call_id)
        if known is not None or not self._may_be_ours(parsed):
            return known
        return self._batch.attempts.get(parsed.attempt_id or "")

    def call_id(self, event: _Event) -> str | None:
        """The call an event is about; None for a foreign one."""
        attempt = self._attempt(event)
        return attempt.call.id if attempt is not None else None

    def insert(self) -> set[str]:
        """Keep the events; the ids of those that were not kept before."""
        rows = {event.id: self._row(event) for event in self._events}
        return write_new(self._connection, provider_events, list(rows.values()))

    def _row(self, event: _Event) -> dict[str, Any]:
        attempt = self._attempt(event)
        return {
            "id": event.id,
            "retell_call_id": event.parsed.retell_call_id,
            "event": event.parsed.event,
            "sha256": event.incoming.sha256,
            "event_timestamp": event.timestamp,
            "body": zlib.compress(event.incoming.body, _LEVEL),
            "source": event.incoming.source,
            "received_at": event.incoming.received_at,
            "processed_at": self._batch.now,
            "disposition": (Disposition.FOREIGN if attempt is None else Disposition.APPLIED).value,
            "call_id": attempt.call.id if attempt is not None else None,
            "attempt_id": attempt.id if attempt is not None else None,
        }

    def apply(self, event: _Event) -> Taken:
        """Decide on one event, in memory."""
        attempt = self._attempt(event)
        if attempt is None:
            return Taken(Disposition.FOREIGN)
        parsed = event.parsed
        known = attempt.state["retell_call_id"]
        if known is not None and known != parsed.retell_call_id:
            self._batch.decide(attempt, SecondCall(), retell_call_id=parsed.retell_call_id)
            return Taken(Disposition.APPLIED, attempt.call.id, Alarm.DUPLICATE_DIAL.value)
        adopt(attempt, parsed.retell_call_id)
        self._batch.by_retell_id[parsed.retell_call_id] = attempt
        if isinstance(parsed.heard, HeardEnded | HeardAnalyzed) and attempt.state["line_open"]:
            attempt.set(line_open=False)
        was_lost = attempt.status is AttemptStatus.LOST
        was_provisional = attempt.state["provisional"]
        kept = self._keep_details(attempt, event)
        details = parsed.details
        verdict = self._batch.decide(
            attempt,
            # An event that says nothing of the call's state still proves that Retell has it.
            parsed.heard or Placed(parsed.retell_call_id),
            started_at=parsed.started_at or parsed.event_timestamp or None,
            ended_at=(details.ended_at if details else None) or parsed.event_timestamp or None,
        )
        if verdict.status is AttemptStatus.FAILED and verdict.call is CallStatus.QUEUED:
            defer(self._batch, attempt)
        if kept and not event.concludes:
            attempt.set(provisional=False, silent_since=None)
        elif kept and not was_provisional:
            # Its analysis may still come; for a while it is asked for.
            attempt.set(provisional=True, silent_since=self._batch.now)
        if was_lost and verdict.call is not None:
            attempt.set(message=None)
            attempt.call.set(reason=None, message=None)
        return Taken(
            Disposition.APPLIED, attempt.call.id, verdict.alarm.value if verdict.alarm else None
        )

    def _keep_details(self, attempt: LockedAttempt, event: _Event) -> bool:
        """Whether it is the analysis in force now."""
        details = event.parsed.details
        if details is None:
            return False
        state = attempt.state
        in_force = (_NONE, "")
        if state["analysis_timestamp"] is not None:
            in_force = (state["analysis_timestamp"], state["analysis_sha256"])
        if event.rank < in_force:
            return False
        timestamp, sha256 = event.rank
        attempt.set(analysis_timestamp=timestamp, analysis_sha256=sha256)
        if details.ended_at is not None:
            attempt.set(ended_at=details.ended_at)
        attempt.details = details
        return True

    def apply_again(self, event: _Event, before: str) -> Taken:
        """`apply`; one that was kept as foreign `before` may be known as ours by now."""
        taken = self.apply(event)
        if taken.disposition.value != before and taken.disposition is Disposition.APPLIED:
            row = self._row(event)
            names = ("disposition", "call_id", "attempt_id")
            self._connection.execute(
                update(provider_events)
                .where(provider_events.c.id == event.id)
                .values({name: row[name] for name in names})
            )
        return taken

    def mend(self) -> None:
        """What is stored otherwise than it is read now is to be written."""
        self._batch.mend_details(self._connection)

    def flush(self) -> None:
        """Write what was decided."""
        self._batch.flush(self._connection)
