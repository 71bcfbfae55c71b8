"""What accepting comes to, the same for one call and for a line of a batch."""

from outdial.http_common.problems import Fault, Problem
from outdial.internal_api.commits import Commits
from outdial.internal_api.reading import Defaults, Key, NotNowError, read_call, request_hash
from outdial.ports.intake import Accepted, Intake, KeyConflict, NewCall


class Placing:
    """Reads requests and stores calls."""

    def __init__(self, intake: Intake, commits: Commits, defaults: Defaults) -> None:
        """`defaults` where a call names none."""
        self._intake = intake
        self.commits = commits
        self._defaults = defaults

    async def read(self, tenant: str, raw: object, key: Key) -> NewCall | Accepted:
        """A new call; or the earlier one, where only time has made a repetition invalid.

        Raises `ProblemError`.
        """
        try:
            return read_call(tenant, raw, self._defaults, key)
        except NotNowError:
            earlier = key.value and await self._intake.key_use(tenant, key.value)
            if not earlier or earlier.request_hash != request_hash(raw):
                raise
            return Accepted(earlier.call_id, earlier.status, replayed=True)


def key_conflict(conflict: KeyConflict, pointer: str) -> Problem:
    """422: the key stands for another body."""
    return Problem(
        422,
        f"this idempotency key was used with another body, for call {conflict.call_id}",
        (Fault(pointer, "was used with another body"),),
        kind="idempotency-key-reused",
    )
