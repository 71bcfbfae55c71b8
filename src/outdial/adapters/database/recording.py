"""What came of submissions, into the ledger."""

import random
from collections.abc import Sequence

from sqlalchemy import Connection

from outdial.adapters.database.engine import Clock
from outdial.adapters.database.locked_rows import LockedAttempt
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import (
    lock_workspace,
    opening_with_circuit,
    write_circuit,
)
from outdial.core.call import UNSETTLED, Alarm, AttemptStatus, GivenUp, SecondCall
from outdial.core.circuit import Circuit, after_answer
from outdial.core.look_ups import LookUps
from outdial.core.submission import Absent, Placed, Unanswered
from outdial.ports.dialing import Answer, Recorded

#: A deferred call comes back after this many ms, spread so that a limit is not hit in step.
DEFER_MS = (2_000, 10_000)


def record_answers(
    connection: Connection, clock: Clock, look_ups: LookUps, answers: Sequence[Answer]
) -> list[Recorded]:
    """One transaction; see `ports.dialing.Dialing.record`."""
    deployment, now, circuit = opening_with_circuit(connection, clock)
    if _after(circuit, answers, now) != circuit:
        # Like a claim: the workspace before the calls, or the two would wait for each other.
        lock_workspace(connection)
        deployment, now, circuit = opening_with_circuit(connection, clock)
        write_circuit(connection, _after(circuit, answers, now))
    batch = Batch(deployment, now)
    batch.lock_attempts(
        connection,
        [answer.attempt_id for answer in answers],
        {one.submission.retell_call_id for one in answers if isinstance(one.submission, Placed)},
    )
    results = [_record(batch, look_ups, answer) for answer in answers]
    batch.flush(connection)
    return results


def _after(circuit: Circuit, answers: Sequence[Answer], now: int) -> Circuit:
    for answer in answers:
        if answer.submitted and not isinstance(answer.submission, Absent):
            circuit = after_answer(circuit, answer.attempt_id, answer.submission, now)
    return circuit


def _record(batch: Batch, look_ups: LookUps, answer: Answer) -> Recorded:
    attempt = batch.attempts.get(answer.attempt_id)
    if attempt is None:
        return Recorded(answer.attempt_id, kept=False)
    submission = answer.submission
    if isinstance(submission, Placed):
        if batch.by_retell_id.get(submission.retell_call_id, attempt) is not attempt:
            return _shared(batch, look_ups, attempt, answer, submission)
        return _placed(batch, attempt, submission)
    if not _owned(attempt, answer):
        return Recorded(attempt.id, kept=False)
    if isinstance(submission, Absent):
        return _absent(batch, look_ups, attempt, submission)
    message = submission.detail if isinstance(submission, Unanswered) else submission.message
    verdict = batch.decide(attempt, submission, message=message)
    attempt.set(message=message)
    match verdict.status:
        case AttemptStatus.UNKNOWN:
            _doubt(batch, look_ups, attempt)
        case AttemptStatus.DEFERRED:
            attempt.set(line_open=False, lease_token=None, lease_until=None)
            defer(batch, attempt)
        case _:
            attempt.set(line_open=False, lease_token=None, lease_until=None)
    return Recorded(attempt.id, kept=True)


def _owned(attempt: LockedAttempt, answer: Answer) -> bool:
    return attempt.state["lease_token"] == answer.lease_token and attempt.status in UNSETTLED


def _placed(batch: Batch, attempt: LockedAttempt, placed: Placed) -> Recorded:
    """Retell's own word counts whoever brings it, also a worker whose lease has passed."""
    known = attempt.state["retell_call_id"]
    if known is not None and known != placed.retell_call_id:
        second = batch.decide(attempt, SecondCall(), retell_call_id=placed.retell_call_id)
        return Recorded(attempt.id, kept=False, alarm=second.alarm and second.alarm.value)
    adopt(attempt, placed.retell_call_id)
    batch.by_retell_id[placed.retell_call_id] = attempt
    verdict = batch.decide(attempt, placed)
    return Recorded(attempt.id, kept=True, alarm=verdict.alarm and verdict.alarm.value)


def _shared(
    batch: Batch, look_ups: LookUps, attempt: LockedAttempt, answer: Answer, placed: Placed
) -> Recorded:
    """Retell named another attempt's call: that one keeps it, and of this one nothing is known."""
    batch.alarm(attempt, Alarm.SHARED_CALL_ID, placed.retell_call_id)
    kept = _owned(attempt, answer)
    if kept:
        message = "Retell answered with the call of another attempt"
        batch.decide(attempt, Unanswered(message), message=message)
        attempt.set(message=message)
        _doubt(batch, look_ups, attempt)
    return Recorded(attempt.id, kept=kept, alarm=Alarm.SHARED_CALL_ID.value)


def _absent(batch: Batch, look_ups: LookUps, attempt: LockedAttempt, absent: Absent) -> Recorded:
    """Looked up after the last moment it could be submitted: the second time ends it."""
    absent_at = attempt.state["absent_at"]
    if look_ups.gives_up(absent_at, batch.now):
        batch.decide(attempt, GivenUp(), message=absent.detail)
        attempt.set(line_open=False, lease_token=None, lease_until=None, provisional=True)
        attempt.set(message=absent.detail)
        return Recorded(attempt.id, kept=True)
    batch.decide(attempt, Unanswered(absent.detail), message=absent.detail)
    _doubt(batch, look_ups, attempt)
    if absent_at is None:
        absent_at = batch.now
    attempt.set(
        absent_at=absent_at,
        lease_until=max(absent_at + look_ups.apart_ms, batch.now + 1),
        message=absent.detail,
    )
    return Recorded(attempt.id, kept=True)


def adopt(attempt: LockedAttempt, retell_call_id: str) -> None:
    """The attempt is this call at Retell from now on; nobody has to ask for it again."""
    if attempt.state["retell_call_id"] is None:
        attempt.set(retell_call_id=retell_call_id)
    if attempt.state["lease_token"] is not None or attempt.state["lease_until"] is not None:
        attempt.set(lease_token=None, lease_until=None)


def defer(batch: Batch, attempt: LockedAttempt) -> None:
    """Back to the queue; nothing rang, so nothing is used up."""
    pause = random.uniform(*DEFER_MS)  # noqa: S311 - spreads load, hides nothing
    attempt.call.set(due_at=batch.now + int(pause), published_at=None)


def _doubt(batch: Batch, look_ups: LookUps, attempt: LockedAttempt) -> None:
    doubts = attempt.state["doubts"] + 1
    pause = look_ups.pause(doubts, attempt.first_submitted_at, batch.now)
    attempt.set(doubted=True, doubts=doubts, lease_token=None, lease_until=batch.now + pause)
    if attempt.state["unknown_since"] is None:
        attempt.set(unknown_since=batch.now)
