"""One claim, one dial: when to ask Retell, for how long, and when to look first."""

from collections.abc import Callable
from dataclasses import dataclass

from outdial.core.submission import Absent, Placed, Submission, Throttled, Unanswered
from outdial.errors import Unavailable
from outdial.ports.dialing import Answer, Claim, Dialing
from outdial.ports.platform import VoicePlatform
from outdial.telemetry import DIALS


@dataclass(frozen=True, slots=True)
class DialTimes:
    """In seconds. A submission takes `timeout` at most, and begins with half the lease left."""

    lease: float
    timeout: float


class Dialer:
    """Submits attempts. Never raises but for being cancelled: every doubt is an answer."""

    def __init__(
        self,
        dialing: Dialing,
        platform: VoicePlatform,
        times: DialTimes,
        clock: Callable[[], float],
    ) -> None:
        """`clock` in seconds, monotonic."""
        self._dialing = dialing
        self._platform = platform
        self._times = times
        self._clock = clock

    async def dial(self, claim: Claim, claimed_at: float) -> list[Answer]:
        """Submit, or find, the attempt; `claimed_at`: just before the claim was asked for.

        Several answers only where Retell has several calls of one attempt.
        """
        if claim.look_up_first:
            answers = await self._look_up(claim)
        elif self._too_late(claim, claimed_at):
            # Certainly not submitted: nothing is known to be doubtful.
            late = Throttled("the worker was too slow to submit within its lease")
            answers = [_unasked(claim, late)]
        else:
            answers = [await self._submit(claim)]
        for answer in answers:
            DIALS.labels(result=type(answer.submission).__name__.lower()).inc()
        return answers

    def _too_late(self, claim: Claim, since: float) -> bool:
        used = self._clock() - since
        return used > self._times.lease / 2 or used * 1000 > claim.submit_ms

    async def _submit(self, claim: Claim) -> Answer:
        submission = await self._platform.submit(claim.body, self._times.timeout)
        return Answer(claim.call_id, claim.attempt_id, claim.lease_token, submission)

    async def _look_up(self, claim: Claim) -> list[Answer]:
        """An earlier owner may have dialed: ask for the attempt before dialing it again."""
        try:
            found = await self._platform.find_attempt(claim.attempt_id)
        except Unavailable as error:
            return [_unasked(claim, Unanswered(f"could not be looked up: {error}"))]
        if found:
            return [_unasked(claim, Placed(retell_call_id)) for retell_call_id in found]
        if claim.submit_ms <= 0:
            return [_unasked(claim, await self._absent())]
        asked_at = self._clock()
        try:
            allowed = await self._dialing.may_submit_again(claim)
        except Unavailable as error:
            doubt = f"not found at Retell, and not submitted again: {error}"
            return [_unasked(claim, Unanswered(doubt))]
        if not allowed or self._too_late(claim, asked_at):
            doubt = "not found at Retell; waits to be submitted again"
            return [_unasked(claim, Unanswered(doubt))]
        return [await self._submit(claim)]

    async def _absent(self) -> Absent | Unanswered:
        """Whether to believe that it is nowhere: another workspace's list is as empty."""
        try:
            witness = await self._dialing.witness()
            known = witness is None or await self._platform.get_call(witness) is not None
        except Unavailable as error:
            return Unanswered(f"not found at Retell, which could not be put to the proof: {error}")
        if not known:
            return Unanswered(
                "not found at Retell, which does not know the call it told us of last either: "
                "is the API key that of another workspace?"
            )
        return Absent("not found at Retell, and too late to submit it again")


def _unasked(claim: Claim, submission: Submission | Absent) -> Answer:
    """What is known without having asked for a dial."""
    return Answer(claim.call_id, claim.attempt_id, claim.lease_token, submission, submitted=False)
