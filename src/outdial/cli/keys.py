"""`outdial keys`: API keys."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import session
from outdial.cli.family import Family
from outdial.cli.output import note, say, say_facts, say_json, say_table
from outdial.errors import OutdialError

if TYPE_CHECKING:
    from outdial.http_common.auth import IssuedKey
    from outdial.ports.keys import KeyRecord

SCOPES = ("calls:write", "calls:read", "analytics:read", "admin")


def create(
    *,
    tenant: Annotated[
        str, typer.Option("--tenant", metavar="T", help="Whose calls it places and sees.")
    ] = "default",
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help=f"{', '.join(SCOPES)}; may be repeated.  [default: all but admin]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the key as JSON.")] = False,
) -> None:
    r"""Make a key. It is shown this once only: the database keeps its hash.

    \b
    Examples:
      outdial keys create --tenant engage --scope calls:write --scope calls:read
      outdial keys create --scope admin --json | jq -r .key
    """
    wanted = scopes or [scope for scope in SCOPES if scope != "admin"]
    for scope in wanted:
        if scope not in SCOPES:
            raise typer.BadParameter(
                f"{scope} is none of {', '.join(SCOPES)}", param_hint="--scope"
            )
    issued = session.run(_create(tenant, wanted))
    record = issued.record
    shown = {
        "id": record.id,
        "key": issued.secret,
        "tenant": record.tenant,
        "scopes": _scopes(record),
    }
    if as_json:
        say_json(shown)
        return
    say_facts([(name, value) for name, value in shown.items() if name != "scopes"])
    say_facts([("scopes", ", ".join(_scopes(record)))])
    note("Keep the key now: it can't be shown again.")


def list_(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List keys, oldest first, without their secrets."""
    records = session.run(_all())
    if as_json:
        say_json({"items": [_as_json(record) for record in records]})
        return
    if not records:
        note("No key yet: make one with `outdial keys create`.")
        return
    say_table(
        ["id", "tenant", "created (UTC)", "state", "scopes"],
        [
            [
                record.id,
                record.tenant,
                f"{_moment(record.created_at):%Y-%m-%d %H:%M}",
                "live" if record.revoked_at is None else "revoked",
                ", ".join(_scopes(record)),
            ]
            for record in records
        ],
    )


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id (not the key itself).")],
) -> None:
    """Revoke a key: it stops working within seconds, and for good."""
    if not session.run(_revoke(key_id)):
        raise OutdialError(f"there is no key {key_id}; see `outdial keys list`")
    say(f"{key_id} is revoked.")


FAMILY: Family = (
    "API keys: make, list, revoke.",
    {"create": create, "list": list_, "revoke": revoke},
)


async def _create(tenant: str, scopes: list[str]) -> "IssuedKey":
    from outdial import bootstrap, config  # noqa: PLC0415
    from outdial.http_common.auth import issue_key  # noqa: PLC0415
    from outdial.ports.keys import Scope  # noqa: PLC0415

    async with bootstrap.open_ledger(config.load()) as ledger:
        return await issue_key(ledger.keys, tenant, [Scope(scope) for scope in scopes])


async def _all() -> "list[KeyRecord]":
    from outdial import bootstrap, config  # noqa: PLC0415

    async with bootstrap.open_ledger(config.load()) as ledger:
        return await ledger.keys.all()


async def _revoke(key_id: str) -> bool:
    from outdial import bootstrap, config  # noqa: PLC0415

    async with bootstrap.open_ledger(config.load()) as ledger:
        return await ledger.keys.revoke(key_id)


def _scopes(record: "KeyRecord") -> list[str]:
    return [scope for scope in SCOPES if scope in record.scopes]


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _as_json(record: "KeyRecord") -> dict[str, object]:
    from outdial.core.times import to_rfc3339  # noqa: PLC0415

    return {
        "id": record.id,
        "tenant": record.tenant,
        "scopes": _scopes(record),
        "created_at": to_rfc3339(record.created_at),
        "revoked_at": None if record.revoked_at is None else to_rfc3339(record.revoked_at),
    }
