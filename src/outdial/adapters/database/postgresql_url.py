"""PostgreSQL's URL as people write it, for libpq, in the words of the driver, asyncpg."""

import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL

from outdial.errors import ConfigurationError

_VARIABLE = "OUTDIAL_DATABASE_URL"
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: Known to SQLAlchemy or the driver by the same name.
_THE_SAME = (
    "host",
    "port",
    "ssl",
    "target_session_attrs",
    "prepared_statement_cache_size",
)
_TRANSLATED = (
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "application_name",
    "statement_cache_size",
)


def connection_of(url: URL) -> tuple[URL, dict[str, Any], dict[str, str]]:
    """The URL the driver takes, arguments and server settings beside it.

    Raises `ConfigurationError` naming a parameter that is unknown or has a wrong value.
    """
    given = {
        name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()
    }
    unknown = sorted(given.keys() - {*_THE_SAME, *_TRANSLATED})
    if unknown:
        known = ", ".join(sorted((*_THE_SAME, *_TRANSLATED)))
        raise ConfigurationError(
            f"{_VARIABLE}: unknown parameter {', '.join(unknown)}; known are {known}"
        )
    arguments: dict[str, Any] = {}
    settings: dict[str, str] = {}
    if "sslmode" in given or "sslrootcert" in given:
        arguments["ssl"] = _ssl(given.get("sslmode", "verify-full"), given.get("sslrootcert"))
    if "connect_timeout" in given:
        arguments["timeout"] = float(_digits("connect_timeout", given))
    if "statement_cache_size" in given:
        # The driver takes a number only; 0 is what a pooler in front needs.
        arguments["statement_cache_size"] = int(_digits("statement_cache_size", given))
    if "application_name" in given:
        settings["application_name"] = given["application_name"]
    return url.difference_update_query(_TRANSLATED), arguments, settings


def _ssl(mode: str, root: str | None) -> str | ssl.SSLContext:
    if mode not in _MODES:
        raise ConfigurationError(f"{_VARIABLE}: sslmode {mode!r} is none of {', '.join(_MODES)}")
    if root is None or not mode.startswith("verify"):
        return mode
    try:
        context = ssl.create_default_context(cafile=None if root == "system" else root)
    except OSError as error:
        raise ConfigurationError(f"{_VARIABLE}: sslrootcert {root}: {error.strerror}") from None
    context.check_hostname = mode == "verify-full"
    return context


def _digits(name: str, given: Mapping[str, str]) -> str:
    text = given[name]
    if not (text.isascii() and text.isdecimal()):
        raise ConfigurationError(f"{_VARIABLE}: {name} {text!r} is not a whole number")
    return text
