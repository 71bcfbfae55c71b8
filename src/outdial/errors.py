"""Every error this system raises on purpose; the class decides what happens next.

    OutdialError
    ├── ConfigurationError   a person has to mend the set-up; exit 1 with one line
    ├── Retryable            nothing is wrong with the work: try it again later
    │   └── Unavailable      a dependency (database, queue, sink, platform …) does not answer
    ├── Poison               this message can never be processed: dead-letter it, with the reason
    └── AlreadyDone          somebody did it before: acknowledge

Adapters translate their driver's errors into these at the edge; a driver's own error never
leaves its adapter.
"""


class OutdialError(Exception):
    """Base of all errors raised on purpose. `str()` is one clear line for a person."""


class ConfigurationError(OutdialError):
    """The configuration is wrong; the text says what is wrong and how to mend it."""


class Retryable(OutdialError):  # noqa: N818 - the three verdicts are the field's words, not faults
    """Nothing is wrong with the work itself: it is to be tried again, after a back-off."""


class Unavailable(Retryable):
    """A dependency (`dependency` names it: 'database', 'call queue', …) does not answer."""

    def __init__(self, dependency: str, detail: str) -> None:
        """`detail` is one line and holds no secret."""
        super().__init__(f"{dependency} unavailable: {detail}")
        self.dependency = dependency
        self.detail = detail


class Poison(OutdialError):  # noqa: N818
    """The message can never be processed; `reason` goes with it to the dead-letter queue."""

    def __init__(self, reason: str) -> None:
        """`reason` is one line, without personal data."""
        super().__init__(reason)
        self.reason = reason


class AlreadyDone(OutdialError):  # noqa: N818
    """The work was done before; acknowledging is all that is left."""
