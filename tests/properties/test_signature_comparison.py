"""What decides on a signature: one comparison of whole digests for every key, in constant time."""

import ast
import gc
import hmac
import inspect
import sys
from typing import Any

from outdial.core import signature
from outdial.core.signature import Verdict, sign, verify
from tests.properties.hostile_requests import EVENTS, KEYS, NOW

COMPARED = "hmac.compare_digest"


def trace(header: str, keys: tuple[str, ...]) -> tuple[Verdict, list[tuple[str, str]]]:
    """What a check of this header calls, C functions too, in its order."""
    called: list[tuple[str, str]] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        inside = argument.__qualname__ if event.startswith("c_") else frame.f_code.co_qualname
        called.append((event, COMPARED if argument is hmac.compare_digest else inside))

    was, collecting = sys.getprofile(), gc.isenabled()
    # A collection calls what other tests' tools hung on it.
    gc.disable()
    sys.setprofile(note)
    try:
        verdict = verify(header, EVENTS[0], keys, NOW)
    finally:
        sys.setprofile(was)
        if collecting:
            gc.enable()
    # The last is the call that ends the tracing.
    return verdict, called[:-1]


def test_digests_are_compared_in_constant_time() -> None:
    """Wherever a digest is wrong the check does the same: one `compare_digest` for every key."""
    good = sign(KEYS[0], EVENTS[0], NOW)
    start = len(good) - 64
    wrong = {
        good[:at] + ("0" if good[at] != "0" else "1") + good[at + 1 :]
        for at in range(start, len(good))
    } | {good[:start] + "0" * 64}
    traces = [trace(header, KEYS) for header in wrong]
    assert {verdict for verdict, _ in traces} == {Verdict.BAD}
    called = traces[0][1]
    compared = [one for one in called if one == ("c_call", COMPARED)]
    assert len(compared) == len(KEYS)
    assert all(others == called for _, others in traces)
    # Which of the keys it was can't be told either.
    for key in KEYS:
        verdict, calls = trace(sign(key, EVENTS[0], NOW), KEYS)
        assert verdict is Verdict.GOOD
        assert calls == called


def test_nothing_else_looks_at_a_digest() -> None:
    """In the source, what `verify` makes of a key is an argument of `compare_digest` only."""
    source = ast.parse(inspect.getsource(signature))
    [checks] = [
        node
        for node in source.body
        if isinstance(node, ast.FunctionDef) and node.name == verify.__name__
    ]
    made = calls_of(checks, "_digest")
    compared = calls_of(checks, "compare_digest")
    assert len(made) == len(compared) == 1
    assert made[0] in compared[0].args
    told = [node for node in ast.walk(checks) if ast.unparse(node) == "match[2]"]
    assert all(node in compared[0].args for node in told)


def calls_of(checks: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a function of this name."""
    calls = [node for node in ast.walk(checks) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == name]
