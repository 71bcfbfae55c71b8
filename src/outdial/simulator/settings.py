"""What a simulator is started with."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_API_KEY = "key_simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One simulated workspace: where it listens, what it tells whom, how fast its time passes."""

    home: Path
    """Folder of its state (`simulator.db`); a restart there forgets nothing."""
    host: str = "127.0.0.1"
    port: int = 8004
    """0 picks a free one."""
    speed: float = 1.0
    """Ringing, talking and analysis take 1/speed of their told durations."""
    seed: int = 1
    idempotency_window_s: float = 3600.0
    """How long a key is honoured, in seconds of the wall clock."""
    webhook_url: str | None = None
    """Where events go unless a call names its own address; none: nowhere."""
    api_key: str = DEFAULT_API_KEY
    """Authenticates requests and signs webhooks."""
    rate: float = 1.0
    """Calls started a second; 0 is no limit. Retell's own default is 1."""
    concurrency: int = 20
    """Calls at once; 0 is no limit. Retell's own default is 20."""
    webhook_timeout_s: float = 10.0
    webhook_retry_s: float = 1.0
    """Wait before the second try of a webhook; doubled for each later one."""
    announce_json: bool = False
    """Say the address as one line of JSON on stdout, for a parent program."""
    parent_pid: int | None = None
    """End as soon as this process is no longer our parent."""
