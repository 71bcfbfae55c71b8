"""Where the warehouse is and how to sign in, read from its URL.

`snowflake://USER:PASSWORD@ACCOUNT/DATABASE/SCHEMA?warehouse=W&role=R`, or with a key pair
`snowflake://USER@ACCOUNT/DATABASE/SCHEMA?warehouse=W&role=R&private_key_file=PATH`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from outdial.errors import ConfigurationError

_FORM = (
    "is not of the form snowflake://USER:PASSWORD@ACCOUNT/DATABASE/SCHEMA?warehouse=W&role=R "
    "(or, with a key pair, USER@ACCOUNT and &private_key_file=PATH)"
)
_OPTIONS = {
    "warehouse",
    "role",
    "host",
    "private_key_file",
    "private_key_password",
    "private_key",
    "load_rows",
    "load_seconds",
}
#: Names that need no quotes in SQL; others are not worth the surprises.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


@dataclass(frozen=True, slots=True)
class Address:
    """`str()` holds no secret. `load_rows`, `load_seconds`: see `analytics.loader.Pace`."""

    user: str
    account: str
    database: str
    schema: str
    warehouse: str | None
    role: str | None
    host: str | None
    load_rows: int
    load_seconds: float
    secrets: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"snowflake://{self.user}@{self.account}/{self.database}/{self.schema}"

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read it. Raises `ConfigurationError`, which names what is wrong and no secret."""
        try:
            split = urlsplit(url)
            account = split.hostname
            options = dict(parse_qsl(split.query, strict_parsing=bool(split.query)))
        except ValueError:
            raise _wrong(_FORM) from None
        names = [unquote(name) for name in split.path.strip("/").split("/")]
        user = unquote(split.username or "")
        if not (user and account and len(names) == 2):
            raise _wrong(_FORM)
        for name in (*names, *(options[o] for o in ("warehouse", "role") if o in options)):
            if not _NAME.fullmatch(name):
                raise _wrong(f"has the name {name!r}: letters, digits and _ only")
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            known = ", ".join(sorted(_OPTIONS))
            raise _wrong(f"has the option {unknown[0]}; there are {known}")
        return cls(
            user,
            account,
            database=names[0],
            schema=names[1],
            warehouse=options.get("warehouse"),
            role=options.get("role"),
            host=options.get("host"),
            load_rows=int(_positive(options, "load_rows", 10_000)),
            load_seconds=_positive(options, "load_seconds", 60),
            secrets=_secrets(unquote(split.password or ""), options),
        )


def _positive(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = 0
    if not 1 <= value <= 1_000_000:
        raise _wrong(f"has {name}={options[name]}: a number from 1 to 1000000")
    return value


def _secrets(password: str, options: Mapping[str, str]) -> Mapping[str, Any]:
    given = [password, options.get("private_key_file", ""), options.get("private_key", "")]
    if sum(map(bool, given)) != 1:
        raise _wrong("needs one of a password, private_key_file and private_key")
    if password:
        return {"password": password}
    file = options.get("private_key_file")
    try:
        if file:
            what = f"private_key_file {file}"
            key = _key(Path(file).read_bytes(), options.get("private_key_password"))
        else:
            what = "private_key (Base64 of the DER form, URL-encoded)"
            key = base64.b64decode(options["private_key"], validate=True)
    except OSError as error:
        raise _wrong(f"has {what}, which can't be read: {error.strerror}") from None
    except (binascii.Error, ValueError, TypeError):
        raise _wrong(f"has {what}, which is no PKCS#8 key, or its password is wrong") from None
    return {"private_key": key, "authenticator": "SNOWFLAKE_JWT"}


def _key(pem: bytes, password: str | None) -> bytes:
    """DER of a PEM file: the one form that all connectors take by the same name."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - 0.1 s

    key = serialization.load_pem_private_key(pem, password.encode() if password else None)
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"OUTDIAL_WAREHOUSE_URL {what}; see docs/snowflake.md")
