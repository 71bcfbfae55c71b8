"""What came of submissions, into the ledger."""

import random
from collections.abc import Sequence

from sqlalchemy import Connection

from outdial.adapters.database.engine import Clock
from outdial.adapters.database.transitions import Batch, LockedAttempt
from outdial.adapters.database.workspace import lock_workspace, opening, write_workspace
from outdial.core.call import UNSETTLED, AttemptStatus, SecondCall
from outdial.core.submission import Placed, Refused, Suspended, Throttled, Unanswered
from outdial.ports.dialing import Answer, Recorded

#: A deferred call comes back after this many ms, spread so that a limit is not hit in step.
DEFER_MS = (2_000, 10_000)
#: An unknown submission is looked up first after this many ms, doubling up to the second.
LOOK_UP_MS = (2_000, 600_000)


def record_answers(
    connection: Connection, clock: Clock, answers: Sequence[Answer]
) -> list[Recorded]:
    """One transaction; see `ports.dialing.Dialing.record`."""
    suspended = next((a.submission for a in answers if isinstance(a.submission, Suspended)), None)
    if suspended is not None:
        # Like a claim: the workspace before the calls, or the two would wait for each other.
        lock_workspace(connection)
    batch = Batch(*opening(connection, clock))
    batch.lock_attempts(connection, [answer.attempt_id for answer in answers])
    results = [_record(batch, answer) for answer in answers]
    batch.flush(connection)
    if suspended is not None:
        write_workspace(
            connection,
            circuit_reason=f"{suspended.status} {suspended.message}",
            circuit_opened_at=batch.now,
        )
    return results


def _record(batch: Batch, answer: Answer) -> Recorded:
    attempt = batch.attempts.get(answer.attempt_id)
    if attempt is None:
        return Recorded(answer.attempt_id, kept=False)
    submission = answer.submission
    if isinstance(submission, Placed):
        return _placed(batch, attempt, submission)
    if attempt.state["lease_token"] != answer.lease_token or attempt.status not in UNSETTLED:
        return Recorded(attempt.id, kept=False)
    message = submission.detail if isinstance(submission, Unanswered) else submission.message
    verdict = batch.decide(attempt, submission, message=message)
    attempt.set(message=message)
    match verdict.status:
        case AttemptStatus.UNKNOWN:
            _doubt(batch, attempt)
        case AttemptStatus.DEFERRED:
            attempt.set(line_open=False, lease_token=None, lease_until=None)
            defer(batch, attempt)
        case _:
            attempt.set(line_open=False, lease_token=None, lease_until=None)
    assert isinstance(submission, Refused | Suspended | Throttled | Unanswered)  # noqa: S101
    return Recorded(attempt.id, kept=True)


def _placed(batch: Batch, attempt: LockedAttempt, placed: Placed) -> Recorded:
    """Retell's own word counts whoever brings it, also a worker whose lease has passed."""
    known = attempt.state["retell_call_id"]
    if known is not None and known != placed.retell_call_id:
        second = batch.decide(attempt, SecondCall(), retell_call_id=placed.retell_call_id)
        return Recorded(attempt.id, kept=False, alarm=second.alarm and second.alarm.value)
    adopt(attempt, placed.retell_call_id)
    verdict = batch.decide(attempt, placed)
    return Recorded(attempt.id, kept=True, alarm=verdict.alarm and verdict.alarm.value)


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


def _doubt(batch: Batch, attempt: LockedAttempt) -> None:
    doubts = attempt.state["doubts"] + 1
    first, most = LOOK_UP_MS
    wait = min(most, first * 2 ** min(doubts - 1, 20))
    attempt.set(doubted=True, doubts=doubts, lease_token=None, lease_until=batch.now + wait)
