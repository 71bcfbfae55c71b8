"""`/sim`: what the simulator really did, and what it shall do wrong."""

import html
from datetime import UTC, datetime
from typing import Any

import orjson

from outdial.simulator.calls import Call
from outdial.simulator.clock import wall_ms
from outdial.simulator.platform import Platform
from outdial.simulator.requests import ApiError
from outdial.simulator.store import index_value

_MOST = 1000
_ON_PAGE = 50


def dials(platform: Platform, asked: dict[str, str]) -> dict[str, Any]:
    """Every dial in the order of placing; `asked` are the query's parameters."""
    known = {"cursor", "limit", "to_number", "metadata_key", "metadata_value"}
    unknown = sorted(set(asked) - known)
    if unknown:
        raise ApiError(400, f"unknown parameter {', '.join(unknown)}; known: {sorted(known)}")
    cursor, limit = _natural(asked, "cursor", 0), _natural(asked, "limit", 100)
    if not 1 <= limit <= _MOST:
        raise ApiError(400, f"limit is from 1 to {_MOST}")
    where, values = "WHERE seq > ?", [cursor]
    filters: list[object] = list(values)
    if "to_number" in asked:
        where += " AND to_number = ?"
        filters.append(asked["to_number"])
    if "metadata_key" in asked:
        where += " AND seq IN (SELECT seq FROM metadata_values WHERE name = ?"
        filters.append(asked["metadata_key"])
        if "metadata_value" in asked:
            where += " AND value = ?"
            filters.append(index_value(asked["metadata_value"]))
        where += ")"
    elif "metadata_value" in asked:
        raise ApiError(400, "metadata_value needs a metadata_key")
    calls = platform.store.select(f"{where} ORDER BY seq LIMIT {limit + 1}", *filters)
    page = calls[:limit]
    return {
        "items": [_dial(call) for call in page],
        "next_cursor": str(page[-1].seq) if len(calls) > limit else None,
    }


def stats(platform: Platform) -> dict[str, Any]:
    """Counts since the last reset, those before a restart included."""
    counts = platform.store.counts

    def group(prefix: str, *always: str) -> dict[str, int]:
        told = dict.fromkeys(always, 0)
        told |= {
            name.removeprefix(prefix): count
            for name, count in sorted(counts.items())
            if name.startswith(prefix)
        }
        return told

    webhooks = group("webhooks.", "sent", "acknowledged", "failed", "lost", "dropped")
    return {
        "seed": platform.settings.seed,
        "speed": platform.settings.speed,
        **platform.store.totals(wall_ms()),
        "running": len(platform.limits.running),
        "keys_replayed": counts["keys_replayed"],
        "creates": group("creates."),
        "webhooks": webhooks | {"pending": platform.sender.pending},
    }


def page(platform: Platform) -> bytes:
    """The same for a person's eyes: HTML that renews itself."""
    told = stats(platform)
    figures = [(name, told[name]) for name in ("dials", "rang", "running", "ended", "analyzed")]
    figures += [(f"creates: {name}", count) for name, count in told["creates"].items()]
    figures += [("keys replayed", told["keys_replayed"])]
    figures += [(f"webhooks {name}", count) for name, count in told["webhooks"].items()]
    latest = platform.store.select(f"ORDER BY seq DESC LIMIT {_ON_PAGE}")
    now_ms = wall_ms()
    rows = "".join(
        f"<tr><td>{_time(call.created_at)}<td>{html.escape(call.to_number)}<td>{call.outcome}"
        f"<td>{call.status(call.stage(now_ms))}<td>{call.talk_ms / 1000:.0f} s"
        f"<td><code>{call.call_id}</code>"
        for call in latest
    )
    cells = "".join(f"<div><b>{count}</b>{html.escape(name)}</div>" for name, count in figures)
    faults = html.escape(orjson.dumps(platform.faults.as_json()).decode().replace(",", ", "))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulator</title>
<meta http-equiv="refresh" content="2"><meta name="viewport" content="width=device-width">
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;
color:#1c2430;background:#fbfbfa}}section{{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}}
section div{{background:#fff;border:1px solid #ddd;border-radius:6px;padding:.5rem .9rem}}
section b{{display:block;font-size:1.3rem}}table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #e6e6e3}}</style>
<h1>Retell, simulated</h1><p>No phone rings. Seed {told["seed"]}, speed {told["speed"]:g}.
Faults: <code>{faults}</code></p><section>{cells}</section><h2>Latest dials</h2>
<table><thead><tr><th>At<th>To<th>Outcome<th>Status<th>Talk<th>Call</thead><tbody>{rows}</tbody>
</table></html>""".encode()


def _dial(call: Call) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "to_number": call.to_number,
        "from_number": call.from_number,
        "metadata": orjson.Fragment(call.metadata) if call.metadata else None,
        "idempotency_key": call.idempotency_key,
        "rang": bool(call.rang),
        "outcome": call.outcome,
        "at": _time(call.created_at),
    }


def _time(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _natural(asked: dict[str, str], name: str, default: int) -> int:
    value = asked.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit()):
        raise ApiError(400, f"{name} must be a whole number")
    return int(value[:18])
