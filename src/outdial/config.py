"""Configuration: environment and `.env`, prefix `OUTDIAL_`, read once and validated.

Secrets are `SecretStr`: they are never printed. `docs/configuration.md` is made from this module.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from outdial.errors import ConfigurationError

PREFIX = "OUTDIAL_"
ENV_FILE = Path(".env")
#: The idempotency window in which a submission may be repeated: five sixths of it.
SUBMIT_SHARE = 5 / 6
#: A submission may take this share of the lease, so that its answer is recorded within it.
TIMEOUT_SHARE = 2 / 5


class Settings(BaseSettings):
    """Every setting, with its default and its meaning."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # as the editors of Windows write it, or without its mark
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(Path(".outdial"), description="Folder of the embedded state.")
    database_url: SecretStr | None = Field(
        None,
        description="Operational database: `sqlite:///PATH` or "
        "`postgresql://USER:PASSWORD@HOST/DB`. By default SQLite in the home folder.",
    )
    call_queue_url: str | None = Field(
        None,
        description="Queue of due calls: an SQS queue's URL, or `sqlite:///PATH?queue=NAME`. "
        "By default embedded, in the home folder.",
    )
    event_queue_url: str | None = Field(
        None,
        description="Queue of provider events, likewise. By default embedded, in the home folder.",
    )
    warehouse_url: SecretStr | None = Field(
        None,
        description="Warehouse: `duckdb:///PATH` or "
        "`snowflake://USER:PASSWORD@ACCOUNT/DB/SCHEMA?warehouse=W&role=R` (docs/snowflake.md). "
        "By default DuckDB in the home folder.",
    )
    retell_api_key: SecretStr | None = Field(
        None, description="Retell's API key. Without one, `up` starts the simulator and uses it."
    )
    retell_base_url: str | None = Field(
        None, description="Where Retell's API is, if not at Retell."
    )
    retell_webhook_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Key that signs webhooks, if not the API key; two, separated by a comma, "
        "while one is rotated.",
    )
    parked_url: str | None = Field(
        None,
        description="Where payloads too large for the queue are parked: a folder, or "
        "`s3://BUCKET/PREFIX`.",
    )
    idempotency_window: float = Field(
        3600, gt=0, description="Seconds that Retell honours an idempotency key."
    )
    activity_sink_url: str | None = Field(
        None,
        description="Where activity events go: `https://…`, or `eventbridge://BUS` (with "
        "`?region=…`, if not the environment's). None: they are kept.",
    )
    activity_sink_secret: SecretStr | None = Field(
        None, description="Signs activity events (Standard Webhooks; `whsec_…` or plain text)."
    )
    default_from_number: str | None = Field(
        None, description="Caller number (E.164) where a call names none."
    )
    default_agent_id: str | None = Field(None, description="Agent where a call names none.")
    dial_rate: float = Field(1, gt=0, description="Calls started a second.")
    max_concurrent_calls: int = Field(20, ge=1, description="Calls under way at once.")
    attempt_lease: float = Field(
        60, ge=1, description="Seconds a claimed attempt belongs to its worker."
    )
    reconcile_after: float = Field(900, gt=0, description="Seconds without news before asking.")
    reconcile_rate: float = Field(
        5, gt=0, description="Questions a second that one reconciler asks Retell."
    )
    analysis_after: float = Field(
        3600,
        gt=0,
        description="Seconds after a call's end in which its analysis is waited for; then the call "
        "is concluded with what is known.",
    )
    republish_after: float = Field(
        600,
        gt=0,
        description="Seconds after which a published call nobody claimed is published again, "
        "unless the queue holds a message for each.",
    )
    auth: Literal["keys", "none"] = Field(
        "keys", description="`none` switches authentication off; only when bound to loopback."
    )
    api_url: str | None = Field(
        None, description="Voice API the command line talks to. By default the one `up` started."
    )
    api_key: SecretStr | None = Field(
        None, description="Key the command line uses. By default the one `up` made."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least serious line that is logged."
    )

    @field_validator("retell_webhook_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("event_queue_url")
    @classmethod
    def _is_another(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value and value == others.data.get("call_queue_url"):
            raise ValueError("is that of OUTDIAL_CALL_QUEUE_URL: each needs a queue of its own")
        return value

    @field_validator("default_from_number")
    @classmethod
    def _is_e164(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"\+[1-9][0-9]{1,14}", value):
            raise ValueError("not an E.164 number: write it like +14155550100")
        return value or None

    @field_validator("retell_base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value and not _http(value):
            raise ValueError("not an http(s) URL: write it like https://api.example.com")
        return value or None

    @property
    def database(self) -> str:
        """The database URL in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'outdial.db'}"

    @property
    def warehouse(self) -> str:
        """The warehouse URL in force."""
        if self.warehouse_url is not None:
            return self.warehouse_url.get_secret_value()
        return f"duckdb:///{self.home / 'warehouse.duckdb'}"

    @property
    def parked(self) -> Path:
        """The folder of parked payloads."""
        return Path(self.parked_url) if self.parked_url else self.home / "parked"

    @property
    def webhook_keys(self) -> tuple[str, ...]:
        """Keys that webhooks may be signed with, newest first."""
        keys = self.retell_webhook_key or (
            (self.retell_api_key,) if self.retell_api_key is not None else ()
        )
        return tuple(key.get_secret_value() for key in keys)


def load(*, dotenv: bool = True, **overrides: object) -> Settings:
    """Read the settings; `overrides` (by field name) win over the environment.

    Without `dotenv` no file is read, as for the demo, which is the same wherever it runs.

    Raises `ConfigurationError` naming every variable that is wrong.
    """
    faults = _unknown(os.environ)
    file: Path | None = ENV_FILE if dotenv else None
    try:
        if dotenv:
            faults += _unknown(_names_in(ENV_FILE), f" in {ENV_FILE}")
    except ConfigurationError as error:
        faults.append(str(error))
        file = None
    try:
        settings = Settings(_env_file=file, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults += [
            f"{PREFIX}{'.'.join(str(part) for part in fault['loc']).upper()}: " + _words(fault)
            for fault in error.errors(include_url=False)
        ]
    if faults:
        raise ConfigurationError("; ".join(faults))
    return settings


def _words(fault: ErrorDetails) -> str:
    """What is wrong with a value. Only what can't be a secret is repeated: numbers and choices."""
    context = fault.get("ctx") or {}
    given = f"{str(fault['input'])[:60]!r}"
    match fault["type"]:
        case "float_parsing" | "float_type" | "finite_number":
            return f"{given} is not a number: write it like {_example(fault)}"
        case "int_parsing" | "int_from_float" | "int_type" | "int_parsing_size":
            return f"{given} is not a whole number: write it like {_example(fault)}"
        case "greater_than":
            least = f"more than {context['gt']:g}"
            return f"{given} is too little: it must be {least}, for instance {_example(fault)}"
        case "greater_than_equal":
            least = f"{context['ge']:g} or more"
            return f"{given} is too little: it must be {least}, for instance {_example(fault)}"
        case "literal_error":
            choices = str(context["expected"]).replace("'", "")
            return f"{given} is not known: it must be {choices}"
        case _:
            return fault["msg"].removeprefix("Value error, ")


def _example(fault: ErrorDetails) -> str:
    return str(Settings.model_fields[str(fault["loc"][0])].default)


def _unknown(names: Iterable[str], where: str = "") -> list[str]:
    """A misspelt variable would otherwise be silently without effect."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in names
        if name.startswith(PREFIX) and name not in known and not name.startswith(f"{PREFIX}TEST_")
    )
    if not unknown:
        return []
    return [f"unknown variable {', '.join(unknown)}{where} (docs/configuration.md has them all)"]


def _names_in(file: Path) -> set[str]:
    """The variables that a `.env` sets. A line that is none would be silently without effect."""
    if not file.is_file():
        return set()
    names = set()
    try:
        with file.open(encoding="utf-8-sig") as text:
            for binding in parse_stream(text):
                key = binding.key or ""
                if binding.error or (key.startswith(PREFIX) and binding.value is None):
                    line = binding.original.line
                    raise ConfigurationError(f"{file} line {line} is not NAME=value: mend it")
                names.add(key)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8 text: save it as that") from None
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read: {error.strerror}") from None
    return names


def _http(url: str) -> bool:
    try:
        split = urlsplit(url)
        # Reading the port checks it.
        return split.scheme in {"http", "https"} and bool(split.hostname) and split.port != 0
    except ValueError:
        return False
