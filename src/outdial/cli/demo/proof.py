"""The proof: accepted = dialed = ended, each contact dialed once, each attempt told once.

Pure: it is given what the Voice API, the simulator's own list of dials and the analytics API say,
and finds where they differ.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INITIATED = "voice_call.initiated"
#: Exactly one of these ends an attempt that was initiated.
ENDS = frozenset({"voice_call.completed", "voice_call.failed"})
#: Statuses in which nothing more happens to a call.
ENDED = frozenset({"completed", "failed", "cancelled", "expired", "rejected"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What three sources say, each asked for itself.

    `placed`: ids that the import was given. `calls`: `GET /v1/calls/{id}` of every call. `dials`:
    the items of `/sim/dials`. `analytics`: metrics of the overview.
    """

    placed: Sequence[str]
    calls: Sequence[Mapping[str, Any]]
    dials: Sequence[Mapping[str, Any]]
    analytics: Mapping[str, Any]

    @property
    def rang(self) -> list[Mapping[str, Any]]:
        """The dials that made a telephone ring."""
        return [dial for dial in self.dials if dial["rang"]]


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must be so. `faults`: where it is not."""

    says: str
    figures: str
    source: str
    faults: Sequence[str] = field(default_factory=tuple)

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return not self.faults


def prove(evidence: Evidence) -> list[Claim]:
    """Every claim, held against the evidence."""
    return [
        _all_ended(evidence),
        _dialed_once(evidence),
        _told_once(evidence, "initiated exactly once", frozenset({INITIATED})),
        _told_once(evidence, "ended exactly once", ENDS),
        _analytics_agree(evidence),
    ]


def _all_ended(evidence: Evidence) -> Claim:
    accepted = len(set(evidence.placed))
    dialed = len({_call_of(dial) for dial in evidence.rang} & set(evidence.placed))
    ended = sum(call["status"] in ENDED for call in evidence.calls)
    faults = [f"{call['id']} is {call['status']}" for call in evidence.calls if not _over(call)]
    if not accepted == dialed == ended == len(evidence.calls):
        faults.append(f"accepted {accepted}, dialed {dialed}, ended {ended}")
    figures = f"{accepted:,} = {dialed:,} = {ended:,}"
    return Claim("accepted = dialed = ended", figures, "/sim/dials, API", faults)


def _dialed_once(evidence: Evidence) -> Claim:
    asked = Counter(str(call["to_number"]) for call in evidence.calls)
    dialed = Counter(str(dial["to_number"]) for dial in evidence.rang)
    faults = [
        f"{number}: asked for {asked[number]}, dialed {dialed[number]} times"
        for number in sorted(asked.keys() | dialed.keys())
        if asked[number] != dialed[number]
    ]
    by_call = Counter(_call_of(dial) for dial in evidence.rang)
    faults += [f"call {call}: {times} dials" for call, times in by_call.items() if times != 1]
    figures = f"{len(asked):,} numbers, {len(evidence.rang):,} dials"
    return Claim("each contact dialed exactly once", figures, "/sim/dials", faults)


def _told_once(evidence: Evidence, says: str, kinds: frozenset[str]) -> Claim:
    attempts = 0
    faults = []
    for call in evidence.calls:
        told = Counter(entry["attempt"] for entry in call["timeline"] if entry["kind"] in kinds)
        dialed = [each["number"] for each in call["attempts"] if each["retell_call_id"]]
        attempts += len(dialed)
        faults += [
            f"call {call['id']} attempt {number}: {told[number]} times"
            for number in sorted({*dialed, *told})
            if told[number] != 1 or number not in dialed
        ]
    return Claim(f"each attempt {says}", f"{attempts:,} attempts", "Voice API", faults)


def _analytics_agree(evidence: Evidence) -> Claim:
    counted = {
        "calls": len(evidence.calls),
        "attempts": sum(len(call["attempts"]) for call in evidence.calls),
        "waiting": 0,
        "under_way": 0,
    }
    faults = [
        f"{name}: {evidence.analytics.get(name)} where {number} were counted"
        for name, number in counted.items()
        if evidence.analytics.get(name) != number
    ]
    figures = f"{counted['calls']:,} calls, {counted['attempts']:,} attempts"
    return Claim("analytics say the same", figures, "analytics API", faults)


def _over(call: Mapping[str, Any]) -> bool:
    return call["status"] in ENDED


def _call_of(dial: Mapping[str, Any]) -> str:
    return str((dial["metadata"] or {}).get("outdial_call_id"))
