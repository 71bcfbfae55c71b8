"""Who judges the crash tests can find fault: each broken promise, planted in sound books, is named.

A judge that is content with everything would make of every crash test a test that can't fail.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from systemtest.crash_judges import (
    dialed_twice,
    faults_of_dialing,
    faults_of_statuses,
    faults_of_telling,
    lost,
)
from systemtest.receiver import Event


@dataclass
class Books:
    """What the four parties say: who placed calls, the platform, the Voice API, the receiver."""

    accepted: list[str]
    dials: list[dict[str, Any]]
    statuses: dict[str, str]
    events: list[Event]

    def faults(self) -> Iterator[str]:
        """All that all judges find."""
        yield from (f"lost: {call_id}" for call_id in lost(self.accepted, self.dials))
        yield from (f"twice: {call_id}" for call_id in dialed_twice(self.dials))
        yield from faults_of_dialing(self.accepted, self.dials)
        yield from faults_of_statuses(self.accepted, self.statuses)
        yield from faults_of_telling(self.events, self.dials, self.statuses)

    def dial(self, call_id: str, attempt: int, outcome: str, *, rang: bool = True) -> None:
        """The platform's entry."""
        self.dials.append(
            {
                "call_id": f"retell-{call_id}-{attempt}",
                "metadata": {
                    "outdial_call_id": call_id,
                    "outdial_attempt_id": f"{call_id}-{attempt}",
                },
                "idempotency_key": f"{call_id}-{attempt}",
                "rang": rang,
                "outcome": outcome,
            }
        )

    def tell(self, call_id: str, attempt: int, *kinds: str) -> None:
        """The receiver's entries, numbered on."""
        for kind in kinds:
            sequence = 1 + sum(event.call_id == call_id for event in self.events)
            data = {"retell_call_id": f"retell-{call_id}-{attempt}"}
            event_id = f"{call_id}/{sequence}"
            event = Event(event_id, f"voice_call.{kind}", call_id, sequence, attempt, data)
            self.events.append(event)


def sound() -> Books:
    """One call that was answered, one that was not, one whose first attempt found no free line."""
    statuses = {"answered": "completed", "unanswered": "failed", "put-off": "completed"}
    books = Books(list(statuses), [], statuses, [])
    books.dial("answered", 1, "answered")
    books.tell("answered", 1, "initiated", "started", "completed")
    books.dial("unanswered", 1, "no_answer")
    books.tell("unanswered", 1, "initiated", "failed")
    books.dial("put-off", 1, "answered", rang=False)
    books.tell("put-off", 1, "initiated", "failed")
    books.dial("put-off", 2, "voicemail")
    books.tell("put-off", 2, "initiated", "started", "completed")
    return books


def test_sound_books_are_passed() -> None:
    """What is as promised is not found fault with, repeated deliveries included."""
    books = sound()
    books.events += deepcopy(books.events)
    assert list(books.faults()) == []


def _never_dialed(books: Books) -> None:
    books.accepted.append("forgotten")


def _only_put_off(books: Books) -> None:
    books.dials.pop()


def _dialed_again(books: Books) -> None:
    books.dial("answered", 2, "answered")


def _attempt_dialed_again(books: Books) -> None:
    books.dials[0]["rang"] = False
    books.dials.append(books.dials[0] | {"call_id": "retell-second", "rang": True})


def _key_used_for_two(books: Books) -> None:
    books.dials[1]["idempotency_key"] = books.dials[0]["idempotency_key"]


def _dialed_unasked(books: Books) -> None:
    books.dial("stranger", 1, "answered")


def _gone(books: Books) -> None:
    del books.statuses["answered"]


def _made_up(books: Books) -> None:
    books.statuses["made-up"] = "completed"


def _still_going(books: Books) -> None:
    books.statuses["answered"] = "in_progress"


def _told_otherwise(books: Books) -> None:
    books.statuses["answered"] = "failed"


def _two_contents(books: Books) -> None:
    books.events.append(replace(books.events[0], type="voice_call.failed"))


def _told_twice(books: Books) -> None:
    books.events.insert(1, replace(books.events[0], id="another"))


def _out_of_order(books: Books) -> None:
    books.events[0], books.events[1] = books.events[1], books.events[0]


def _a_gap(books: Books) -> None:
    del books.events[1]


def _never_told(books: Books) -> None:
    del books.events[:3]


def _no_end(books: Books) -> None:
    del books.events[2]


def _two_ends(books: Books) -> None:
    books.tell("answered", 1, "completed")


def _not_initiated(books: Books) -> None:
    books.events[0] = replace(books.events[0], type="voice_call.started")


def _never_started(books: Books) -> None:
    books.events[3:5] = [
        books.events[3],
        replace(books.events[4], sequence=2, type="voice_call.completed"),
    ]


def _told_of_nothing(books: Books) -> None:
    books.tell("unanswered", 7, "initiated", "failed")


@pytest.mark.parametrize(
    ("break_promise", "named"),
    [
        (_never_dialed, "lost: forgotten"),
        (_only_put_off, "lost: put-off"),
        (_dialed_again, "twice: answered"),
        (_attempt_dialed_again, "attempt answered-1 was placed 2 times"),
        (_key_used_for_two, "an idempotency key was used for two calls"),
        (_dialed_unasked, "call stranger was dialed, and nobody asked for it"),
        (_gone, "call answered was accepted and is gone"),
        (_made_up, "call made-up was never accepted"),
        (_still_going, "call answered is still in_progress"),
        (_told_otherwise, "call answered is failed, and was told as voice_call.completed"),
        (_two_contents, "event answered/1 came with two contents"),
        (_told_twice, "call answered was told in the order [1, 1, 2, 3]"),
        (_out_of_order, "call answered was told in the order [2, 1, 3]"),
        (_a_gap, "call answered was told in the order [1, 3]"),
        (_never_told, "call answered, retell-answered-1 (answered, rang) was never told"),
        (_no_end, "was not told to end once, and last"),
        (_two_ends, "was not told to end once, and last"),
        (_not_initiated, "was not told as initiated once, and first"),
        (_never_started, "call unanswered, retell-unanswered-1 (no_answer, rang) was told as"),
        (_told_of_nothing, "retell-unanswered-7 was told, and never dialed"),
    ],
)
def test_a_broken_promise_is_named(break_promise: Callable[[Books], None], named: str) -> None:
    """Each of them by some judge, with the id of what it is about."""
    books = sound()
    break_promise(books)
    assert any(named in fault for fault in books.faults()), list(books.faults())
