"""The way of the calls accepted in a period: how far they came, and what was lost where.

Each step is a part of the one before it. A call's attempt is its latest one.
"""

from dataclasses import dataclass

from outdial.analytics.metrics import Grain
from outdial.analytics.questions import Filters, condition, source
from outdial.analytics.scope import OwnRows

_DIALED = "a.initiated_at IS NOT NULL"
_CONNECTED = f"{_DIALED} AND a.connected"
_ANSWERED = f"{_CONNECTED} AND a.outcome = 'answered'"
_SUCCESSFUL = f"{_ANSWERED} AND a.call_successful"

#: How far a call came; the first that holds.
_LEVEL = (
    f"CASE WHEN {_SUCCESSFUL} THEN 4 WHEN {_ANSWERED} THEN 3 WHEN {_CONNECTED} THEN 2 "
    f"WHEN {_DIALED} THEN 1 ELSE 0 END"
)
#: Why it did not come further. What is still under way may yet.
_WHY = f"""CASE
  WHEN {_SUCCESSFUL} THEN NULL
  WHEN {_ANSWERED} THEN CASE WHEN a.call_successful IS NULL THEN 'not_judged'
    ELSE 'not_successful' END
  WHEN {_DIALED} THEN CASE WHEN a.outcome IS NOT NULL THEN a.outcome
    WHEN a.status = 'lost' THEN 'lost' ELSE 'in_progress' END
  WHEN c.status IN ('scheduled', 'queued') THEN 'waiting'
  WHEN c.status IN ('dialing', 'in_progress') THEN 'dialing'
  WHEN c.status IN ('cancelled', 'expired', 'rejected') THEN c.status
  ELSE COALESCE(c.reason, c.status) END"""

STEPS = (
    ("accepted", "Accepted", "The Voice API took the call."),
    ("dialed", "Dialed", "Retell took it on."),
    ("connected", "Connected", "Somebody or something picked up."),
    ("answered", "Answered", "A person answered."),
    ("successful", "Successful", "The call reached its goal."),
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Calls that came no further than the step before, by reason."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `share` is of the calls accepted, None where there are none.

    `lost`: why calls of the step before are not here, most frequent first.
    """

    name: str
    title: str
    meaning: str
    count: int
    share: float | None
    lost: tuple[Loss, ...]


async def funnel(own: OwnRows, filters: Filters) -> list[Step]:
    """All steps, from accepted to successful."""
    where = condition(filters, Grain.CALL)
    rows = await own.ask(
        f"SELECT {_LEVEL}, {_WHY}, COUNT(*) FROM {source(Grain.CALL, _LEVEL)} "  # noqa: S608 - own expressions
        f"WHERE {where.sql} GROUP BY 1, 2",
        where.parameters,
        filters.tz,
    )
    total = sum(count for _, _, count in rows)
    steps = []
    for number, (name, title, meaning) in enumerate(STEPS):
        count = sum(many for level, _, many in rows if level >= number)
        lost = [Loss(why, many) for level, why, many in rows if level == number - 1]
        lost.sort(key=lambda loss: (-loss.count, loss.reason))
        share = count / total if total else None
        steps.append(Step(name, title, meaning, count, share, tuple(lost)))
    return steps
