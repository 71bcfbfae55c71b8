"""What `outdial doctor` checks of what others set up: queues, parking, clocks, webhooks."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from outdial.bootstrap.parts import Parts
from outdial.cli.findings import Check, fault, ok
from outdial.cli.output import counted
from outdial.core.signature import HEADER, sign
from outdial.ports.queue import MAX_MESSAGE_BYTES, Provisioned, Queue

if TYPE_CHECKING:
    from outdial.ports.queue import QueueSettings

#: Seconds between clocks: leases and signatures are judged by them.
CLOCK_NOTICE, CLOCK_FAULT = 5, 60
#: Milliseconds of news that are looked at, and ends learned by asking that are too many.
_RECENT_MS = 24 * 3600 * 1000
_MANY = 3
#: Signed, but no event: an entry that knows the key answers 400, and keeps nothing.
_PROBE = b"[]"
_PROBE_KEY = "doctor-probe"

Ask = Callable[..., Awaitable[tuple[int, dict[str, str]]]]


async def queue_settings(queue: Queue, title: str, lease: float) -> list[Check]:
    """Whether a queue of AWS is set up as the stages need it. `lease` in seconds."""
    if not isinstance(queue, Provisioned):
        return []
    found = _unfit(await queue.settings(), lease)
    return [fault(title, detail, mend) for detail, mend in found]


def _unfit(settings: "QueueSettings", lease: float) -> list[tuple[str, str]]:
    found = []
    if settings.visibility <= lease:
        found.append(
            (
                f"visibility timeout {settings.visibility} s, and a call is leased for {lease:g} s",
                "set VisibilityTimeout to 90 s, or more than OUTDIAL_ATTEMPT_LEASE",
            )
        )
    if settings.max_receives is None:
        found.append(("no dead-letter queue", "give it a RedrivePolicy with maxReceiveCount 100"))
    elif settings.max_receives < 10:
        found.append(
            (
                f"gives up after {settings.max_receives} receives: an outage takes more",
                "set maxReceiveCount to 100",
            )
        )
    if settings.max_bytes < MAX_MESSAGE_BYTES:
        found.append(
            (
                f"takes messages up to {settings.max_bytes:,} bytes only",
                f"set MaximumMessageSize to {MAX_MESSAGE_BYTES}",
            )
        )
    if settings.dead_retention is not None and settings.dead_retention < settings.retention:
        found.append(
            (
                "dead letters are kept for less long than messages, whose age they inherit",
                "set the dead-letter queue's MessageRetentionPeriod to 14 days (1209600)",
            )
        )
    return found


async def parking(parts: Parts) -> list[Check]:
    """Whether payloads can be parked, read and removed: one is, where others keep them."""
    shown = str(parts.settings.parked_url or parts.settings.parked)
    if parts.settings.parked_url:
        await parts.parking.put(_PROBE_KEY, b"?")
        await parts.parking.get(_PROBE_KEY)
        await parts.parking.delete(_PROBE_KEY)
    return [ok("parking", shown)]


async def database_clock(parts: Parts) -> list[Check]:
    """How far the database's clock, which times leases and permits, is from this machine's."""
    before = time.time()
    there = await parts.ledger.dialing.now() / 1000
    after = time.time()
    skew = max(0.0, before - there, there - after)
    detail = f"{skew:.0f} s between this machine's and the database's"
    if skew > CLOCK_FAULT:
        return [fault("database clock", detail, "set both by NTP")]
    return [Check("database clock", "notice" if skew > CLOCK_NOTICE else "ok", detail)]


async def webhook_news(parts: Parts) -> list[Check]:
    """Whether webhooks come at all, or all news has to be asked for."""
    since = await parts.ledger.dialing.now() - _RECENT_MS
    by_source = await parts.ledger.arrivals.by_source(since)
    heard, asked = by_source.get("webhook", 0), by_source.get("asked", 0)
    detail = f"{counted(heard, 'webhook')} in 24 hours, {counted(asked, 'event')} learned by asking"
    if asked >= _MANY and not heard:
        mend = (
            "is the webhook's URL set at Retell, and OUTDIAL_RETELL_WEBHOOK_KEY its key? "
            "`outdial doctor --webhook URL` asks the entry"
        )
        return [fault("webhooks", detail, mend)]
    return [ok("webhooks", detail)]


async def webhook_entry(keys: Sequence[str], url: str, ask: Ask) -> list[Check]:
    """Whether the entry at `url` takes what is signed with each of these keys."""
    if not keys:
        mend = "set OUTDIAL_RETELL_WEBHOOK_KEY, or OUTDIAL_RETELL_API_KEY"
        return [fault("webhook entry", "no key to sign with", mend)]
    found = []
    for number, key in enumerate(keys, 1):
        signature = sign(key, _PROBE, time.time_ns() // 1_000_000)
        status, _ = await ask(url, "POST", headers={HEADER: signature}, body=_PROBE)
        which = f"key {number} of {len(keys)}" if len(keys) > 1 else "the key"
        found.append(_entry(status, which, url))
    return found


def _entry(status: int, which: str, url: str) -> Check:
    if status == 400:
        return ok("webhook entry", f"{url} accepts {which}")
    if status == 401:
        mend = (
            "the entry has another OUTDIAL_RETELL_WEBHOOK_KEY, or its clock is wrong: "
            "a Lambda gets the secret of its last deployment"
        )
        return fault("webhook entry", f"{url} refuses {which}", mend)
    return fault("webhook entry", f"{url} answers {status}", "is this the URL entered at Retell?")
