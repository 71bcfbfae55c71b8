"""`docs/configuration.md`, made from the settings: `python -m outdial.cli.configuration_page`."""

import sys
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from outdial.config import PREFIX, Settings

_HEAD = """\
# Configuration

Settings are environment variables with the prefix `OUTDIAL_`, read once when a command starts,
also from a file `.env` in the working directory (the environment wins). All of them are optional.
A variable with this prefix that is not listed here is refused, since a misspelt one would
otherwise be without effect. Secrets are never printed or logged. `outdial doctor` checks what is
set and reaches every dependency.

`outdial demo` uses none of these settings but `OUTDIAL_HOME`, so it never dials anybody.
"""

_GROUPS: dict[str, tuple[str, ...]] = {
    "Where things lie": (
        "home",
        "database_url",
        "call_queue_url",
        "event_queue_url",
        "warehouse_url",
        "parked_url",
    ),
    "Retell": (
        "retell_api_key",
        "retell_base_url",
        "retell_webhook_key",
        "idempotency_window",
        "default_from_number",
        "default_agent_id",
    ),
    "Pace": (
        "dial_rate",
        "max_concurrent_calls",
        "attempt_lease",
        "republish_after",
        "reconcile_after",
        "reconcile_rate",
        "analysis_after",
    ),
    "Activity events": ("activity_sink_url", "activity_sink_secret"),
    "Access and logs": ("auth", "api_url", "api_key", "log_level"),
}

_TAIL = """\
## Ports

Not settings but options: `outdial up --internal-api-port`, `--webhook-port`, `--web-api-port`,
`--simulator-port`, and `outdial serve STAGE --host --port`; 0 picks a free one.

| stage | port |
|---|---|
"""


def page() -> str:
    """The whole page."""
    from outdial.cli.session import PORTS  # noqa: PLC0415 - only names and numbers

    fields = dict(Settings.model_fields)
    parts = [_HEAD]
    for title, names in _GROUPS.items():
        rows = [_row(name, fields.pop(name)) for name in names if name in fields]
        parts.append(_table(title, rows))
    if fields:
        parts.append(_table("More", [_row(name, field) for name, field in fields.items()]))
    parts.append(_TAIL + "".join(f"| `{stage}` | {port} |\n" for stage, port in PORTS.items()))
    return "\n".join(parts)


def _table(title: str, rows: list[str]) -> str:
    head = "| variable | default | meaning |\n|---|---|---|\n"
    return f"## {title}\n\n{head}" + "".join(f"{row}\n" for row in rows)


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    kind = _kind(field.annotation)
    return f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {meaning}{kind} |"


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _kind(annotation: Any) -> str:  # noqa: ANN401 - what a field is declared as
    kinds = {annotation, *get_args(annotation)}
    if SecretStr in kinds:
        return " Secret."
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    if choices and get_origin(annotation) is not None:
        return f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    return ""


if __name__ == "__main__":
    sys.stdout.write(page())
