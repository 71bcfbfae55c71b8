"""Which API a command speaks to, and with which key."""

import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from outdial.cli import home
from outdial.errors import ConfigurationError, OutdialError

if TYPE_CHECKING:
    from outdial.client import ApiError, Client
    from outdial.config import Settings

T = TypeVar("T")

#: Ports where nothing else is said, by service.
PORTS = {
    "internal-api": 8001,
    "webhook": 8002,
    "web-api": 8003,
    "simulator": 8004,
    "call-processor": 8011,
    "webhook-processor": 8012,
    "relay": 8013,
    "reconciler": 8014,
}
#: Bytes that SQLite needs for a fresh database, its log and its index.
_LEAST_FREE = 1_048_576
LOOPBACK = "127.0.0.1"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. A refusal of the API is told with its remedy."""
    import asyncio  # noqa: PLC0415 - `--help` does without

    from outdial.client import ApiError  # noqa: PLC0415 - a third of a second

    try:
        return asyncio.run(work)
    except ApiError as error:
        raise OutdialError(explained(error)) from None


def database_remedy(settings: "Settings") -> str:
    """What to do about a database that does not answer; its URL is shown without a password."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - a third of a second

    shown = make_url(settings.database).render_as_string(hide_password=True)
    if settings.database.startswith("sqlite:"):
        file = Path(make_url(settings.database).database or "")
        if _full(file.parent):
            return f"no space left in {file.parent}: free some"
        if settings.database_url is None:
            return f"OUTDIAL_HOME: {settings.home} must be a folder that is there and writable"
        return f"OUTDIAL_DATABASE_URL: {shown} must lie in a folder that is there and writable"
    return f"OUTDIAL_DATABASE_URL: {shown} must be a server that runs, with that user and database"


def _full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LEAST_FREE
    except OSError:
        return False


def url(settings: "Settings", service: str = "internal-api") -> str:
    """Where a service of the running system is."""
    if service == "internal-api" and settings.api_url:
        return settings.api_url
    running = home.running(settings.home)
    if running is not None and isinstance(told := running.get("urls"), dict) and service in told:
        return str(told[service])
    return f"http://{LOOPBACK}:{PORTS[service]}"


def key(settings: "Settings") -> str | None:
    """The key in force; None where there is none (authentication may be off)."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    kept = home.read_key(settings.home)
    return str(kept["key"]) if kept and "key" in kept else None


@asynccontextmanager
async def client(settings: "Settings", *, retries: int = 2) -> "AsyncIterator[Client]":
    """A client of the Voice API in force.

    Where nothing says that our API is at the address, a stranger there is not told the key:
    `ApiError`.
    """
    from outdial.client import Client  # noqa: PLC0415 - a third of a second

    base, known = url(settings), key(settings)
    if not base.startswith(("http://", "https://")):
        raise ConfigurationError(f"OUTDIAL_API_URL {base}: not an http:// or https:// address")
    if known and not settings.api_url and home.running(settings.home) is None:
        await _refuse_stranger(base)
    async with Client(base, known, retries=retries) as opened:
        yield opened


async def _refuse_stranger(base: str) -> None:
    from outdial.client import ApiError, Client  # noqa: PLC0415
    from outdial.client.problems import OURS, foreign  # noqa: PLC0415

    async with Client(base, retries=0) as anonymous:
        try:
            await anonymous.page(limit=1)
        except ApiError as error:
            problem = error.problem
            if problem.status and not problem.type.startswith(OURS):
                what = str(error).rpartition("look like the Voice API: ")[2]
                raise foreign(base, what) from None
        except (KeyError, TypeError, ValueError):
            raise foreign(base, "it answers with something else than calls") from None


def explained(error: "ApiError") -> str:
    """What the API said, and what to do about it."""
    from outdial.client.problems import OURS  # noqa: PLC0415 - a third of a second

    problem = error.problem
    if problem.status and not problem.passing and not problem.type.startswith(OURS):
        return f"{error}; set OUTDIAL_API_URL to where it runs"
    match problem.status:
        case 0:
            return f"{error}; is it running? Start it with `outdial up`, or set OUTDIAL_API_URL"
        case 401:
            return (
                f"the Voice API does not accept the key ({error}): set OUTDIAL_API_KEY, "
                f"or make a key with `outdial keys create`"
            )
        case 403:
            return f"this key may not do that: {error}"
        case _:
            return str(error)
