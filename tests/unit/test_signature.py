"""Facts about `core.signature`, its vector, and its agreement with Retell's own SDK."""

import time

import retell
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.signature import TOLERANCE_MS, Verdict, sign, verify

KEY = "key_test"
AT = 1_700_000_000_000
BODY = '{"event":"call_ended","call":{"call_id":"call_1","x":"é"}}'.encode()
DIGEST = "bc4403aa475d4cba07c2a5079a9603f6e9105ffb1d581050a96f77cd819672c5"
GOOD = f"v={AT},d={DIGEST}"
CLIENT = retell.Retell(api_key=KEY)


def sdk_accepts(header: str, body: bytes, key: str) -> bool:
    """What the SDK's own check says of the same request; where it raises, it does not accept."""
    try:
        return bool(CLIENT.verify(body.decode(), key, header))  # type: ignore[no-untyped-call]
    except ValueError:
        return False


def test_vector() -> None:
    """The documented vector is what signing gives and what verifying accepts."""
    assert sign(KEY, BODY, AT) == GOOD
    assert verify(GOOD, BODY, [KEY], AT) is Verdict.GOOD


def test_missing() -> None:
    """No header and an empty header are both missing."""
    assert verify(None, BODY, [KEY], AT) is Verdict.MISSING
    assert verify("", BODY, [KEY], AT) is Verdict.MISSING


def test_malformed() -> None:
    """Anything but the exact form is malformed, also a number too long for Python to read."""
    for header in (
        "v=1",
        DIGEST,
        GOOD.upper(),
        f"{GOOD} ",
        f"{GOOD}\n",
        f"d={DIGEST},v={AT}",
        f"v=-5,d={DIGEST}",
        f"v={AT},d={DIGEST[:-1]}",
        f"v={'9' * 5000},d={DIGEST}",
        "v=\ud800,d=x",
    ):
        assert verify(header, BODY, [KEY], AT) is Verdict.MALFORMED, header


def test_staleness_is_symmetric_and_inclusive() -> None:
    """A signature holds for exactly five minutes into the past and into the future."""
    for side in (-1, 1):
        assert verify(GOOD, BODY, [KEY], AT + side * TOLERANCE_MS) is Verdict.GOOD
        assert verify(GOOD, BODY, [KEY], AT + side * (TOLERANCE_MS + 1)) is Verdict.STALE
    assert verify(GOOD, BODY, [KEY], AT + 11, tolerance_ms=10) is Verdict.STALE


def test_bad() -> None:
    """Another body, another key, another time or no key at all is bad."""
    assert verify(GOOD, BODY + b" ", [KEY], AT) is Verdict.BAD
    assert verify(GOOD, BODY, ["key_other"], AT) is Verdict.BAD
    assert verify(f"v={AT + 1},d={DIGEST}", BODY, [KEY], AT) is Verdict.BAD
    assert verify(GOOD, BODY, [], AT) is Verdict.BAD


def test_two_keys_while_one_is_rotated() -> None:
    """Any of the keys may have signed, whichever comes first."""
    for keys in ([KEY, "key_new"], ["key_new", KEY]):
        assert verify(GOOD, BODY, keys, AT) is Verdict.GOOD


def test_empty_key_opens_nothing() -> None:
    """A signature made with the empty key is bad, though the empty key is configured."""
    assert verify(sign("", BODY, AT), BODY, ["", KEY], AT) is Verdict.BAD


@given(st.text(), st.binary(), st.lists(st.text()), st.integers())
def test_total(header: str, body: bytes, keys: list[str], now_ms: int) -> None:
    """No header, body, key or time makes the check raise."""
    assert verify(header, body, keys, now_ms) in Verdict


@given(st.binary(), st.text(min_size=1), st.integers(min_value=0, max_value=2**53))
def test_round_trip(body: bytes, key: str, at_ms: int) -> None:
    """What was signed verifies, whatever the bytes are."""
    assert verify(sign(key, body, at_ms), body, [key], at_ms) is Verdict.GOOD


def test_agrees_with_the_sdk() -> None:
    """The SDK's check and ours give the same answer on good, bad, stale and malformed headers."""
    now_ms = time.time_ns() // 1_000_000
    fresh = sign(KEY, BODY, now_ms)
    digest = fresh[-64:]
    eastern = "".join(chr(0x0660 + int(digit)) for digit in str(now_ms))
    for header in (
        fresh,
        sign("key_other", BODY, now_ms),
        sign(KEY, BODY + b"x", now_ms),
        sign(KEY, BODY, now_ms - TOLERANCE_MS - 60_000),
        sign(KEY, BODY, now_ms + TOLERANCE_MS + 60_000),
        sign(KEY, BODY, now_ms - TOLERANCE_MS + 60_000),
        f"v=000{now_ms},d={digest}",
        f"v={eastern},d={digest}",
        f"v={now_ms},d={digest.upper()}",
        f"v={now_ms},d={digest}\n",
        f" {fresh}",
        f"v={'9' * 5000},d={digest}",
        "v=,d=",
        "nonsense",
    ):
        ours = verify(header, BODY, [KEY], time.time_ns() // 1_000_000) is Verdict.GOOD
        assert ours == sdk_accepts(header, BODY, KEY), header


@given(st.text(max_size=200), st.text(min_size=1, max_size=40).filter(str.isascii))
def test_sdk_accepts_what_we_sign(body: str, key: str) -> None:
    """Every body and key that we sign, the SDK verifies."""
    raw = body.encode("utf-8", "ignore")
    assert sdk_accepts(sign(key, raw, time.time_ns() // 1_000_000), raw, key)
