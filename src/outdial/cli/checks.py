"""What `outdial doctor` checks, each on its own: one that fails hides no other."""

import asyncio
import email.utils
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp

from outdial import bootstrap, config
from outdial.bootstrap.parts import Parts
from outdial.cli import deployment_checks, home, session
from outdial.cli.deployment_checks import queue_settings
from outdial.cli.findings import Check
from outdial.cli.findings import fault as _fault
from outdial.cli.findings import ok as _ok
from outdial.cli.output import counted
from outdial.client.problems import cause
from outdial.config import Settings
from outdial.core.circuit import Trouble
from outdial.core.times import to_rfc3339
from outdial.errors import ConfigurationError, OutdialError, Unavailable
from outdial.ports.dialing import DialingStatus

RETELL = "https://api.retellai.com"
#: Free space below which a fault is told, and a notice, in bytes.
LITTLE, SOME = 200_000_000, 2_000_000_000
#: Seconds of clock skew: webhooks are valid for 300 s, so half of that is too near.
SKEW_NOTICE, SKEW_FAULT = 5, 150
_SECONDS = 8.0


async def run_checks(webhook_url: str | None = None) -> list[Check]:
    """All checks; only the first one where the configuration can't be read.

    `webhook_url`: the webhook entry to ask; by default that of `up`, if it runs.
    """
    try:
        settings = config.load()
    except ConfigurationError as error:
        return [_fault("configuration", str(error), "see docs/configuration.md")]
    checks = [_configuration(settings)]
    async with bootstrap.open_parts(settings) as parts:
        for name, check in (
            ("home", _home),
            ("database", _database),
            ("database clock", _database_clock),
            ("call queue", _call_queue),
            ("event queue", _event_queue),
            ("parking", deployment_checks.parking),
            ("warehouse", _warehouse),
            ("activity sink", _sink),
            ("voice platform", _platform),
            ("webhooks", _webhooks),
            ("webhook entry", partial(_webhook_entry, url=webhook_url)),
            ("ports", _ports),
            ("voice api", _api),
        ):
            checks += await _guarded(name, check, parts)
    return checks


async def _guarded(
    name: str, check: Callable[[Parts], Awaitable[list[Check]]], parts: Parts
) -> list[Check]:
    try:
        return await asyncio.wait_for(check(parts), _patience(name, parts))
    except TimeoutError:
        return [_fault(name, f"no answer in {_patience(name, parts):g} s")]
    except OutdialError as error:
        return [_fault(name, str(error))]
    except OSError as error:
        return [_fault(name, f"{error.filename or ''} {error.strerror or error}".strip())]


def _patience(name: str, parts: Parts) -> float:
    # Snowflake takes its time to sign in, and to wake a warehouse.
    return 40.0 if name == "warehouse" and parts.warehouse_is_shared else _SECONDS


def _configuration(settings: Settings) -> Check:
    given = sorted(settings.model_fields_set)
    named = ", ".join(f"{config.PREFIX}{name.upper()}" for name in given)
    return _ok("configuration", f"set: {named}" if named else "all defaults")


async def _home(parts: Parts) -> list[Check]:
    folder = parts.settings.home
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return [_fault("home", f"{nearest} is not writable", "set OUTDIAL_HOME to another folder")]
    free = shutil.disk_usage(nearest).free
    told = f"{folder}{_not_yet(folder)}, {free / 1e9:.1f} GB free"
    if free < LITTLE:
        return [_fault("home", told, "make room, or set OUTDIAL_HOME to a larger disk")]
    return [Check("home", "notice" if free < SOME else "ok", told)]


async def _database(parts: Parts) -> list[Check]:
    url = parts.settings.database
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and _not_yet(path):
        # Outdial makes its home by itself, and no other folder.
        if parts.settings.database_url is not None and not path.parent.is_dir():
            return [
                _fault(
                    "database",
                    f"{path.parent} is not there",
                    session.database_remedy(parts.settings),
                )
            ]
        return [_ok("database", f"{path}{_not_yet(path)}")]
    try:
        waiting = await parts.ledger.pending_migrations()
    except Unavailable as error:
        return [_fault("database", str(error), session.database_remedy(parts.settings))]
    shown = str(parts.ledger.database.url)
    if waiting:
        detail = f"{shown} lacks {counted(len(waiting), 'migration')}"
        return [_fault("database", detail, "run `outdial db upgrade`")]
    pauses = await parts.ledger.intake.pauses()
    found = [_ok("database", shown)]
    if pauses:
        detail = f"{counted(len(pauses), 'pause')} in force: calls wait"
        found.append(Check("dialing", "notice", detail, "`outdial resume` goes on"))
    return found + _dialing(await parts.ledger.dialing.status())


def _dialing(status: DialingStatus) -> list[Check]:
    found = []
    if status.trouble is not None:
        detail = f"stopped since {to_rfc3339(status.since or status.at)}: {status.reason}"
        found.append(_fault("dialing", detail, _REMEDIES[status.trouble]))
    if status.unknown:
        since = to_rfc3339(status.unknown_since or status.at)
        detail = f"{counted(status.unknown, 'submission')} of unknown fate, since {since}"
        found.append(Check("doubts", "notice", detail, "they are looked up by themselves"))
    for kind, count in status.alarms.items():
        detail = f"{kind}, {counted(count, 'time')} in 24 hours"
        found.append(_fault("alarms", detail, "see docs/how-to/dialing-stopped.md"))
    return found


_REMEDIES = {
    Trouble.KEY: "set OUTDIAL_RETELL_API_KEY to a key that Retell accepts; it is tried by itself",
    Trouble.PAYMENT: "pay Retell; one call at a time finds out by itself",
    Trouble.OUTAGE: "is Retell up, and OUTDIAL_RETELL_BASE_URL right? It is tried by itself",
}


async def _call_queue(parts: Parts) -> list[Check]:
    return await _queue(parts, "calls", parts.settings.call_queue_url)


async def _event_queue(parts: Parts) -> list[Check]:
    return await _queue(parts, "events", parts.settings.event_queue_url)


async def _queue(parts: Parts, name: Literal["calls", "events"], url: str | None) -> list[Check]:
    title = "call queue" if name == "calls" else "event queue"
    file = parts.settings.home / "queue.db"
    if url is None and _not_yet(file):
        return [_ok(title, f"{file}{_not_yet(file)}")]
    queue = parts.call_queue if name == "calls" else parts.event_queue
    depth = await queue.depth()
    told = f"{depth.visible + depth.in_flight + depth.delayed:,} waiting or in flight"
    found = await queue_settings(queue, title, parts.settings.attempt_lease)
    if depth.dead:
        told += f", {counted(depth.dead, 'dead letter')}"
        return [Check(title, "notice", told, f"look at them: `outdial dlq list {name}`"), *found]
    return [_ok(title, told), *found]


async def _database_clock(parts: Parts) -> list[Check]:
    """SQLite's clock is this machine's; where a database is away or old, that is told already."""
    if parts.settings.database.startswith("sqlite:") or not await _usable(parts):
        return []
    return await deployment_checks.database_clock(parts)


async def _webhooks(parts: Parts) -> list[Check]:
    url = parts.settings.database
    if url.startswith("sqlite:") and _not_yet(Path(url.removeprefix("sqlite:///"))):
        return []
    return await deployment_checks.webhook_news(parts) if await _usable(parts) else []


async def _usable(parts: Parts) -> bool:
    try:
        return not await parts.ledger.pending_migrations()
    except OutdialError:
        return False


async def _webhook_entry(parts: Parts, *, url: str | None) -> list[Check]:
    if url is not None:
        return await deployment_checks.webhook_entry(parts.settings.webhook_keys, url, _ask)
    running = home.running(parts.settings.home) or {}
    entry = running.get("urls", {}).get("webhook")
    if entry is None:
        return []
    # Without a Retell key `up` dials the simulator, which signs with its own.
    keys = parts.settings.webhook_keys or (bootstrap.SIMULATOR_KEY,)
    return await deployment_checks.webhook_entry(keys, f"{entry}/webhooks/retell", _ask)


async def _warehouse(parts: Parts) -> list[Check]:
    if parts.warehouse_is_shared:
        waiting = await parts.snowflake.pending_migrations()
        shown = str(parts.snowflake.address)
        if waiting:
            detail = f"{shown} lacks {counted(len(waiting), 'migration')}"
            return [_fault("warehouse", detail, "run `outdial warehouse upgrade`")]
        return [_ok("warehouse", f"{shown}; more by `outdial doctor --warehouse`")]
    owner = home.web_api(parts.settings.home)
    if owner is not None:
        url = f"{owner['url']}/readyz"
        status, _ = await _ask(url)
        if status == 200:
            detail = f"open in process {owner['pid']}, asked over HTTP"
            return [_ok("warehouse", detail)]
        return [_fault("warehouse", f"{url} says {status}", "look at the log of that process")]
    path = Path(parts.settings.warehouse.removeprefix("duckdb:///"))
    if parts.settings.warehouse.startswith("duckdb:") and _not_yet(path):
        return [_ok("warehouse", f"{path}{_not_yet(path)}")]
    as_of = await parts.warehouse.as_of()
    return [_ok("warehouse", f"{path}, {'loaded' if as_of else 'empty'}")]


async def _sink(parts: Parts) -> list[Check]:
    url = parts.settings.activity_sink_url
    if url is None or parts.sink is None:
        return [_ok("activity sink", "none: events are kept in the database and the warehouse")]
    if parts.event_bridge is not None:
        return [_ok("activity sink", await parts.event_bridge.check())]
    shown = _without_secrets(url)
    try:
        # Anything that is an HTTP answer will do: no event is sent to find out.
        status, _ = await _ask(url, "HEAD")
    except OutdialError as error:
        return [_fault("activity sink", str(error), "see OUTDIAL_ACTIVITY_SINK_URL")]
    return [_ok("activity sink", f"{shown} answers ({status})")]


async def _platform(parts: Parts) -> list[Check]:
    settings = parts.settings
    key = settings.retell_api_key
    if key is None:
        running = home.running(settings.home)
        detail = "the simulator; OUTDIAL_RETELL_API_KEY is not set, so `up` starts it"
        if running is None or "simulator" not in running.get("urls", {}):
            return [_ok("voice platform", detail)]
        base, secret = str(running["urls"]["simulator"]), bootstrap.SIMULATOR_KEY
    else:
        base, secret = settings.retell_base_url or RETELL, key.get_secret_value()
    sent = time.time()
    try:
        status, headers = await _ask(f"{base.rstrip('/')}/get-concurrency", key=secret)
    except OutdialError as error:
        mend = "is this machine online, and OUTDIAL_RETELL_BASE_URL right?"
        return [_fault("voice platform", str(error), mend)]
    checks = [_clock(headers["Date"], sent)] if "Date" in headers else []
    if status == 200:
        return [_ok("voice platform", f"{base} accepts the key"), *checks]
    remedies = {
        401: "OUTDIAL_RETELL_API_KEY is missing, wrong or revoked",
        402: "Retell wants to be paid: see its billing page",
    }
    fault = _fault("voice platform", f"{base} answers {status}", remedies.get(status))
    return [fault, *checks]


def _clock(date: str, sent: float) -> Check:
    there = email.utils.parsedate_to_datetime(date).timestamp()
    # The header counts whole seconds, and the answer took its time.
    skew = max(0.0, abs(there + 0.5 - (sent + time.time()) / 2) - 0.5 - (time.time() - sent) / 2)
    detail = f"{skew:.0f} s from the voice platform's"
    if skew > SKEW_FAULT:
        mend = "set the clock (NTP): webhooks are refused when it is 300 s wrong"
        return _fault("clock", detail, mend)
    return Check("clock", "notice" if skew > SKEW_NOTICE else "ok", detail)


async def _ports(parts: Parts) -> list[Check]:
    running = home.running(parts.settings.home)
    if running is not None:
        ports = ", ".join(url.rpartition(":")[2] for url in running.get("urls", {}).values())
        return [_ok("ports", f"`outdial up` (process {running.get('pid')}) has {ports}")]
    served = ("internal-api", "webhook", "web-api", "simulator")
    taken = [(name, session.PORTS[name]) for name in served if _taken(session.PORTS[name])]
    if not taken:
        return [_ok("ports", ", ".join(str(session.PORTS[name]) for name in served) + " are free")]
    told = ", ".join(f"{port} ({name})" for name, port in taken)
    mend = f"stop what listens there, or choose others: `outdial up --{taken[0][0]}-port 0`"
    return [Check("ports", "notice", f"in use: {told}", mend)]


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((session.LOOPBACK, port))
        except OSError:
            return True
    return False


async def _api(parts: Parts) -> list[Check]:
    settings = parts.settings
    if settings.api_url is None and home.running(settings.home) is None:
        return [_ok("voice api", "not running; `outdial up` starts it")]
    url = session.url(settings)
    status, _ = await _ask(f"{url}/v1/calls?limit=1", key=session.key(settings))
    if status == 200:
        return [_ok("voice api", f"{url} accepts the key")]
    mend = "set OUTDIAL_API_KEY, or make a key: `outdial keys create`" if status == 401 else None
    return [_fault("voice api", f"{url} answers {status}", mend)]


async def _ask(
    url: str,
    method: str = "GET",
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, dict[str, str]]:
    sent = {**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})}
    timeout = aiohttp.ClientTimeout(total=_SECONDS - 1)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.request(method, url, headers=sent, data=body, allow_redirects=False) as response,
        ):
            return response.status, dict(response.headers)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        told = _without_secrets(url)
        raise OutdialError(f"no answer from {told}: {cause(error)}") from None


def _without_secrets(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname}{f':{split.port}' if split.port else ''}{split.path}"


def _not_yet(path: Path) -> str:
    return "" if path.exists() else " (not made yet)"
