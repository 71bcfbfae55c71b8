"""`outdial warehouse`: the analytics warehouse.

DuckDB lets one process own its file: while `up` (or `serve web-api`) runs, that one is asked.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outdial.cli import home, progress, session
from outdial.cli.family import Family
from outdial.cli.output import counted, say, say_json
from outdial.errors import OutdialError

if TYPE_CHECKING:
    import aiohttp

    from outdial.analytics.loader import Progress
    from outdial.config import Settings

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def upgrade(*, as_json: Json = False) -> None:
    """Make or migrate the warehouse's tables; again is no error.

    `outdial up` and `outdial serve web-api` do it when they start.
    """
    owner = session.run(_upgrade())
    if as_json:
        say_json({"upgraded": owner is None, "owner": owner})
    elif owner is None:
        say("The warehouse has the newest tables.")
    else:
        say(f"{owner} owns the warehouse, and gave it the newest tables when it started.")


def rebuild(*, as_json: Json = False) -> None:
    """Empty the warehouse and load it anew from the database.

    Answers of the analytics API grow while it runs. Needs a key with the scope `admin` where a
    running process has to be asked.
    """
    loaded = session.run(_rebuild())
    if as_json:
        say_json({"loaded": loaded})
    else:
        say(f"{counted(loaded, 'row')} loaded.")


FAMILY: Family = ("The analytics warehouse.", {"upgrade": upgrade, "rebuild": rebuild})


def owner(settings: "Settings") -> str | None:
    """The address of the running process that has DuckDB's file open; None where none has."""
    if settings.warehouse.startswith("snowflake:"):
        return None
    found = home.web_api(settings.home)
    return None if found is None else str(found["url"])


async def _upgrade() -> str | None:
    from outdial import bootstrap, config  # noqa: PLC0415

    settings = config.load()
    asked = owner(settings)
    if asked is None:
        async with bootstrap.open_warehouse(settings) as warehouse:
            await warehouse.upgrade()
    return asked


async def _rebuild() -> int:
    from outdial import config  # noqa: PLC0415

    settings = config.load()
    asked = owner(settings)
    with progress.shown("Loading the warehouse") as shown:

        def told(loaded: int, waiting: int) -> None:
            shown.at(loaded, f"{counted(loaded, 'row')}, {waiting:,} to go")

        if asked is None:
            return await _rebuild_here(settings, told)
        return await _rebuild_there(settings, asked, told)


async def _rebuild_here(settings: "Settings", told: "Progress") -> int:
    from outdial import bootstrap  # noqa: PLC0415
    from outdial.bootstrap.openers import require_schema  # noqa: PLC0415

    async with bootstrap.open_parts(settings) as parts:
        await require_schema(parts)
        await parts.warehouse.upgrade()
        return await parts.loader.rebuild(told)


async def _rebuild_there(settings: "Settings", url: str, told: "Progress") -> int:
    import orjson  # noqa: PLC0415

    async with answering(settings, "POST", f"{url}/v1/warehouse/rebuild") as response:
        async for line in response.content:
            step = orjson.loads(line)
            if "problem" in step:
                raise OutdialError(str(step["problem"].get("detail", step["problem"])))
            if step.get("done"):
                return int(step["loaded"])
            told(step["loaded"], step["waiting"])
    raise OutdialError(f"{url} broke off; run it again: it starts anew")


@asynccontextmanager
async def answering(
    settings: "Settings", method: str, url: str, body: Mapping[str, Any] | None = None
) -> "AsyncIterator[aiohttp.ClientResponse]":
    """A request to the web API under the command line's key; refusals are `OutdialError`.

    `body` is sent as JSON.
    """
    import aiohttp  # noqa: PLC0415

    from outdial.client.problems import cause  # noqa: PLC0415

    key = session.key(settings)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as http,
            http.request(method, url, json=body) as response,
        ):
            if response.status >= 400:
                problem = await response.json(content_type=None)
                raise OutdialError(f"{url}: {problem.get('detail') or response.reason}")
            yield response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OutdialError(f"no answer from {url}: {cause(error)}") from None
