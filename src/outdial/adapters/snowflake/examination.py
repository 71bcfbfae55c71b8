"""What `outdial doctor --warehouse` finds out on a real account, each on its own.

Nothing is changed: statements either only ask, or would change no row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from outdial.adapters.snowflake.address import Address
from outdial.adapters.snowflake.schema import Migration, Run, pending
from outdial.adapters.snowflake.tables import TABLES

#: Seconds of idleness after which a warehouse had better sleep: it is paid for by the second then.
_SUSPEND = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend`: what to do about it."""

    name: str
    state: Literal["ok", "notice", "fault"]
    detail: str
    mend: str | None = None


def checks(
    address: Address, parameters: dict[str, object], migrations: tuple[Migration, ...]
) -> dict[str, Callable[[Run], Finding]]:
    """By name, in order. `parameters`: what a session is to have been given."""
    return {
        "sign in": _sign_in,
        "session": lambda run: _session(run, parameters),
        "compute": lambda run: _compute(run, address.warehouse),
        "schema": lambda run: _schema(run, migrations),
        "rights": _rights,
    }


def _sign_in(run: Run) -> Finding:
    names = ("USER", "ROLE", "WAREHOUSE", "DATABASE", "SCHEMA", "REGION", "VERSION")
    row = run(f"SELECT {', '.join(f'CURRENT_{name}()' for name in names)}")[0]
    told = ", ".join(f"{name.lower()} {value}" for name, value in zip(names, row, strict=True))
    absent = [name for name, value in zip(names, row, strict=True) if value is None]
    if absent:
        mend = "grant USAGE to the role, or mend the URL"
        return Finding("sign in", "fault", f"no {absent[0].lower()} in use: {told}", mend)
    return Finding("sign in", "ok", told)


def _session(run: Run, parameters: dict[str, object]) -> Finding:
    wrong = []
    for name, expected in parameters.items():
        rows = run(f"SHOW PARAMETERS LIKE '{name}' IN SESSION")
        found = rows[0][1] if rows else None
        if str(found).lower() != str(expected).lower():
            wrong.append(f"{name} is {found} and not {expected}")
    if wrong:
        mend = "a policy of the account overrides them: answers may differ"
        return Finding("session", "fault", "; ".join(wrong), mend)
    return Finding("session", "ok", f"{len(parameters)} parameters are as asked for")


def _compute(run: Run, warehouse: str | None) -> Finding:
    if warehouse is None:
        return Finding("compute", "notice", "the user's default warehouse", "name one: ?warehouse=")
    run(f"SHOW WAREHOUSES LIKE '{warehouse}'")
    rows = run(
        'SELECT "size", "auto_suspend", "auto_resume" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))'
    )
    if not rows:
        mend = f"create it, or grant USAGE on {warehouse} to the role"
        return Finding("compute", "fault", f"{warehouse} is not to be seen", mend)
    size, suspend, resume = rows[0]
    told = f"{warehouse}, {size}, sleeps after {suspend} s"
    if str(resume).lower() != "true":
        mend = f"ALTER WAREHOUSE {warehouse} SET AUTO_RESUME = TRUE"
        return Finding("compute", "fault", f"{told}, and is not woken by itself", mend)
    if not suspend or float(str(suspend)) > _SUSPEND:
        mend = f"cheaper: ALTER WAREHOUSE {warehouse} SET AUTO_SUSPEND = {_SUSPEND}"
        return Finding("compute", "notice", told, mend)
    return Finding("compute", "ok", told)


def _schema(run: Run, migrations: tuple[Migration, ...]) -> Finding:
    waiting = pending(run, migrations)
    if waiting:
        names = ", ".join(f"{each.number:04d} {each.name}" for each in waiting)
        return Finding("schema", "fault", f"lacks {names}", "run `outdial warehouse upgrade`")
    return Finding("schema", "ok", f"{len(migrations)} of {len(migrations)} migrations")


def _rights(run: Run) -> Finding:
    """Snowflake looks at rights when it compiles, so that statements about no row will do."""
    for table in TABLES:
        run(f"SELECT COUNT(*) FROM {table.name} WHERE FALSE")  # noqa: S608 - own names
        run(f"DELETE FROM {table.name} WHERE FALSE")  # noqa: S608 - likewise
        run(
            f"MERGE INTO {table.name} t USING (SELECT * FROM {table.name} WHERE FALSE) s "  # noqa: S608 - likewise
            f"ON t.{table.key} = s.{table.key} "
            "WHEN MATCHED THEN UPDATE SET tenant = s.tenant "
            f"WHEN NOT MATCHED THEN INSERT ({table.key}, tenant) VALUES (s.{table.key}, s.tenant)"
        )
    run("SELECT as_of FROM freshness")
    return Finding("rights", "ok", "read, insert, update and delete")
