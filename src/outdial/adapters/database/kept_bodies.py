"""The bodies of the inbox, read again: whether they are as they came, and still what is shown.

Read one after the other, for a body may have megabytes.
"""

import zlib
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, select

from outdial.adapters.database.analysis_columns import COLUMNS, differing
from outdial.adapters.database.tables import attempts, provider_events
from outdial.core.retell_events import CALL_ANALYZED, body_sha256, parse
from outdial.provider_json import decode_webhook

#: Bodies, and the transcripts of their attempts, held in memory at once.
_FETCH = 20
_EVENT = provider_events.c
#: The attempt whose details come from the event.
_SHOWN = and_(
    attempts.c.id == _EVENT.attempt_id,
    attempts.c.analysis_sha256 == _EVENT.sha256,
    _EVENT.event == CALL_ANALYZED,
)
_BODIES = select(
    _EVENT.id, _EVENT.sha256, _EVENT.body, attempts.c.id.label("shown"), *COLUMNS
).select_from(provider_events.outerjoin(attempts, _SHOWN))


@dataclass(frozen=True, slots=True)
class Kept:
    """`intact`: its body is what was hashed as it came. `differs`: what is shown otherwise."""

    intact: bool
    differs: tuple[str, ...] = ()


def read_bodies(connection: Connection, wanted: ColumnElement[bool]) -> dict[str, Kept]:
    """Each wanted event's body, judged, by the event's id."""
    rows = connection.execute(_BODIES.where(wanted).execution_options(yield_per=_FETCH)).mappings()
    return {row["id"]: _judged(row) for row in rows}


def opened(row: RowMapping) -> bytes | None:
    """The body of a row of the inbox as it came; None where it is something else by now."""
    try:
        body = zlib.decompress(row["body"])
    except zlib.error:
        return None
    return body if body_sha256(body) == row["sha256"] else None


def _judged(row: RowMapping) -> Kept:
    body = opened(row)
    if body is None:
        return Kept(intact=False)
    if row["shown"] is None:
        return Kept(intact=True)
    details = parse(decode_webhook(body) or {}).details
    return Kept(True, () if details is None else tuple(differing(row, details)))
