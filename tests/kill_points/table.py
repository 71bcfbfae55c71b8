"""Every named point of the sequences that move a call on, and what goes wrong beside the kill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.kill_points.points import Point


@dataclass(frozen=True, slots=True)
class Case:
    """Lives of the program: each ends at the next of `kills`; then one goes on to the end.

    `faults` are the platform's. `metadata` goes with the calls. `parked`: every webhook is too
    large for its queue. `loaded`: the warehouse is, too. `speed`: how fast the platform's time
    passes. `asked`: the platform is soon asked about what is silent. `without`: a defence that is
    taken out of the program, one of `tests.kill_points.defences`.
    """

    kills: tuple[Point, ...]
    faults: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parked: bool = False
    loaded: bool = False
    speed: float = 60.0
    asked: bool = False
    without: str | None = None

    def __str__(self) -> str:
        """As the table shows it."""
        beside = [f"{name} {share:g}" for name, share in self.faults.items()]
        beside += ["parked"] if self.parked else []
        beside += [f"without {self.without}"] if self.without else []
        told = ", then ".join(map(str, self.kills))
        return f"{told} ({', '.join(beside)})" if beside else told


def _at(when: Literal["before", "commit", "during", "after"], place: str) -> Case:
    return Case((Point(when, place),))


def _taken_over(when: Literal["before", "commit", "during", "after"], place: str) -> Case:
    """An attempt that was claimed and never submitted: its next owner dies as well."""
    return Case((Point("before", "submit"), Point(when, place)))


def _found(when: Literal["before", "commit", "during", "after"], place: str) -> Case:
    """An attempt that was submitted and not recorded: its next owner finds it, and dies.

    It rings so long that no webhook tells of it before.
    """
    kills = (Point("after", "submit"), Point(when, place))
    return Case(kills, metadata={"sim_outcome": "no_answer"}, speed=2)


_HANGS = {"sim_hang": True}

#: Accepting: POST → commit → hint.
ACCEPT = (
    _at("before", "accept"),
    _at("commit", "accept"),
    _at("after", "accept"),
    _at("before", "send hints"),
    _at("after", "send hints"),
)
#: Publishing: due → marked as published → hint. (A hint that was never sent has to be found.)
PUBLISH = (
    Case((Point("after", "accept"), Point("commit", "lease due calls"))),
    Case((Point("after", "accept"), Point("after", "lease due calls"))),
)
#: Dialing: hint → claim → submit → answer → record → hint deleted.
DIAL = (
    _at("after", "receive hints"),
    _at("before", "claim"),
    _at("commit", "claim"),
    _at("after", "claim"),
    _at("before", "submit"),
    Case((Point("during", "submit"),), {"lost_response": 1.0}, _HANGS),
    Case((Point("during", "submit"),), {"webhook_first": 1.0}),
    _at("after", "submit"),
    Case((Point("after", "submit"),), {"error_after_commit": 1.0}),
    _at("before", "record"),
    _at("commit", "record"),
    _at("after", "record"),
    Case((Point("commit", "record"),), {"lost_response": 1.0}),
    Case((Point("after", "record"),), {"lost_response": 1.0}),
    _at("before", "delete hints"),
    _at("after", "delete hints"),
)
#: Taking over: claim → look-up → allowed? → submit again → record.
TAKE_OVER = (
    _taken_over("commit", "claim"),
    _taken_over("after", "claim"),
    _taken_over("before", "look up"),
    _taken_over("after", "look up"),
    _taken_over("commit", "may submit again"),
    _taken_over("after", "may submit again"),
    _taken_over("after", "submit"),
    _taken_over("commit", "record"),
    _found("after", "look up"),
    _found("before", "record"),
    _found("commit", "record"),
)
#: A webhook: signature → queue → 204; then inbox, transition and activity events → commit → ack.
WEBHOOK = (
    _at("before", "send events"),
    _at("after", "send events"),
    _at("after", "receive events"),
    _at("before", "take"),
    _at("commit", "take"),
    _at("after", "take"),
    _at("before", "delete events"),
    _at("after", "delete events"),
)
#: One too large for the queue: parked → queue; then fetched → inbox → removed → ack.
PARKED = tuple(
    Case((point,), parked=True)
    for point in (
        Point("before", "park"),
        Point("after", "park"),
        Point("after", "fetch parked"),
        Point("after", "take"),
        Point("before", "remove parked"),
        Point("after", "remove parked"),
    )
)
#: Asking, where no webhook ever comes: silent → get-call → inbox, transition and events → commit.
ASK = tuple(
    Case((point,), {"drop": 1.0}, asked=True)
    for point in (
        Point("commit", "take silent"),
        Point("after", "take silent"),
        Point("before", "ask"),
        Point("after", "ask"),
        Point("before", "learn"),
        Point("commit", "learn"),
        Point("after", "learn"),
    )
)
#: Telling: event leased → sink → settled.
TELL = (
    _at("commit", "lease deliveries"),
    _at("after", "lease deliveries"),
    _at("before", "deliver"),
    _at("after", "deliver"),
    _at("before", "settle deliveries"),
    _at("commit", "settle deliveries"),
    _at("after", "settle deliveries"),
)
#: Loading: changed rows → warehouse → noted as loaded.
LOAD = tuple(
    Case((point,), loaded=True)
    for point in (
        Point("before", "load"),
        Point("after", "load"),
        Point("before", "note loaded"),
        Point("commit", "note loaded"),
        Point("after", "note loaded"),
    )
)
CASES = (*ACCEPT, *PUBLISH, *DIAL, *TAKE_OVER, *WEBHOOK, *PARKED, *ASK, *TELL, *LOAD)


@dataclass(frozen=True, slots=True)
class Defenceless:
    """A case with a program that lacks the defence it tries, and what the judges have to say.

    After `patience` seconds it is judged as it is; what is lost by then is lost.
    """

    case: Case
    fault: str
    patience: float = 15.0

    def __str__(self) -> str:
        """As the table shows it."""
        return str(self.case)


_STILL_GOES_ON = "is still in_progress"
DEFENCELESS = (
    Defenceless(
        Case(
            (Point("after", "submit"),),
            metadata={"sim_outcome": "no_answer"},
            speed=2,
            without="look-ups and idempotency keys",
        ),
        "was dialed twice",
        patience=60,
    ),
    Defenceless(
        Case((Point("after", "receive hints"),), without="hints sent again"), "was never dialed"
    ),
    Defenceless(
        Case(
            (Point("after", "receive events", "call_analyzed"),),
            without="webhooks kept until applied",
        ),
        _STILL_GOES_ON,
    ),
    Defenceless(
        Case((Point("commit", "take", "call_analyzed"),), without="inbox and ledger in one commit"),
        _STILL_GOES_ON,
    ),
    Defenceless(
        Case((Point("after", "deliver"),), without="stable event ids"),
        "was told in the order",
        patience=120,
    ),
)
