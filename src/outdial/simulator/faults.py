"""What goes wrong on demand: shares of calls or events, as `POST /sim/faults` sets them."""

from dataclasses import asdict, dataclass, fields, replace

SHARES = frozenset(
    {
        "lost_request",
        "lost_response",
        "error_after_commit",
        "rate_limited",
        "webhook_first",
        "duplicate",
        "reorder",
        "delay",
        "drop",
        "bad_signature",
    }
)
LIMIT_MODES = ("reject", "accept_then_end")


class FaultError(ValueError):
    """A fault that does not exist, or a value that it cannot have; the text says which."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares are 0 to 1: of calls for the first five, of webhooks for the rest."""

    lost_request: float = 0.0
    lost_response: float = 0.0
    error_after_commit: float = 0.0
    rate_limited: float = 0.0
    create_status: int = 0
    webhook_first: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    drop: float = 0.0
    bad_signature: float = 0.0
    limit_mode: str = "reject"

    def merged(self, changes: object) -> "Faults":
        """These faults with some changed; raises FaultError, naming what is known."""
        if not isinstance(changes, dict):
            raise FaultError("faults are a JSON object")
        known = [field.name for field in fields(self)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise FaultError(f"unknown fault {', '.join(unknown)}; known are {', '.join(known)}")
        for name, value in changes.items():
            _check(name, value)
        return replace(self, **changes)

    def as_json(self) -> dict[str, object]:
        """The body of `GET /sim/faults`."""
        return asdict(self)


def _check(name: str, value: object) -> None:
    if name == "limit_mode":
        if value not in LIMIT_MODES:
            raise FaultError(f"limit_mode is one of {', '.join(LIMIT_MODES)}")
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "create_status":
        if not (isinstance(value, int) and number and (value == 0 or 400 <= value <= 599)):
            raise FaultError("create_status is 0 or a status from 400 to 599")
    elif not (isinstance(value, int | float) and number and 0 <= value <= 1):
        raise FaultError(f"{name} is a share from 0 to 1")
