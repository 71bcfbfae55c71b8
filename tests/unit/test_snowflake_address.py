"""The warehouse's URL: what it may say, and what is said of one that is wrong."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from outdial.adapters.snowflake import Address
from outdial.errors import ConfigurationError

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DER = KEY.private_bytes(
    serialization.Encoding.DER,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def pem(password: bytes | None) -> bytes:
    """The key as a file holds it."""
    return KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def test_a_password_signs_in() -> None:
    """Every part is where it belongs, and no secret in what is printed."""
    url = "snowflake://ada:p%40ss@org-acct/DB/S?warehouse=W&role=R&load_rows=500&load_seconds=300"
    address = Address.of(url)
    assert (address.user, address.account) == ("ada", "org-acct")
    assert (address.database, address.schema) == ("DB", "S")
    assert (address.warehouse, address.role) == ("W", "R")
    assert (address.load_rows, address.load_seconds) == (500, 300)
    assert address.secrets == {"password": "p@ss"}
    assert str(address) == "snowflake://ada@org-acct/DB/S"
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize("password", [None, b"s3 cret"])
def test_a_key_pair_signs_in(tmp_path: Path, password: bytes | None) -> None:
    """From a file, encrypted or not."""
    file = tmp_path / "key.p8"
    file.write_bytes(pem(password))
    url = f"snowflake://ada@acct/DB/S?private_key_file={quote(str(file))}"
    if password:
        url += f"&private_key_password={quote(password.decode())}"
    assert Address.of(url).secrets == {"private_key": DER, "authenticator": "SNOWFLAKE_JWT"}


def test_a_key_can_stand_in_the_url() -> None:
    """For where secrets come as variables and not as files."""
    key = quote(base64.b64encode(DER).decode(), safe="")
    assert Address.of(f"snowflake://a@b/D/S?private_key={key}").secrets["private_key"] == DER


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("snowflake://a:p@b/D", "is not of the form"),
        ("snowflake://:p@b/D/S", "is not of the form"),
        ("snowflake://a:p@/D/S", "is not of the form"),
        ("snowflake://a:p@b/D/S?warehouse", "is not of the form"),
        ("snowflake://a@b/D/S", "needs one of"),
        ("snowflake://a:p@b/D/S?private_key=x", "needs one of"),
        ("snowflake://a:p@b/D/S?wharehouse=W", "the option wharehouse"),
        ("snowflake://a:p@b/D/S?role=R%22--", "the name"),
        ("snowflake://a:p@b/D/S-1", "the name"),
        ("snowflake://a:p@b/D/S?load_rows=0", "load_rows=0"),
        ("snowflake://a:p@b/D/S?load_seconds=soon", "load_seconds=soon"),
        ("snowflake://a@b/D/S?private_key=%21", "private_key"),
        ("snowflake://a@b/D/S?private_key_file=/nowhere/key", "can't be read: No such file"),
    ],
)
def test_what_is_wrong_is_named(url: str, fault: str) -> None:
    """One line, with the variable and the page."""
    with pytest.raises(ConfigurationError, match="OUTDIAL_WAREHOUSE_URL") as caught:
        Address.of(url)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "password"), [(b"no key", ""), (pem(b"right"), "wrong")])
def test_what_is_no_key_is_named(tmp_path: Path, content: bytes, password: str) -> None:
    """Neither the key nor its password is printed."""
    file = tmp_path / "key.p8"
    file.write_bytes(content)
    url = f"snowflake://a@b/D/S?private_key_file={file}&private_key_password={password or 'none'}"
    with pytest.raises(ConfigurationError, match="no PKCS#8 key") as caught:
        Address.of(url)
    assert "wrong" not in str(caught.value).replace("is wrong", "")
