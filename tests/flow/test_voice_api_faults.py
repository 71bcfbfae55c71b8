"""Bad input: every fault is named, in the form of RFC 9457, and nothing is stored."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from outdial.ports.keys import Scope
from tests.flow.voice_api import JSON, TO, VoiceApi, voice_api

MEGABYTE = 1_048_576


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The service on a ledger of the test's own."""
    async with voice_api(ledger_url) as running:
        yield running


def nested(depth: int) -> object:
    """Lists in lists."""
    return [] if depth == 0 else [nested(depth - 1)]


FAULTS: list[tuple[dict[str, object], set[str]]] = [
    ({"to_number": "4155550123"}, {"#/to_number"}),
    ({"to_number": "+0155550123"}, {"#/to_number"}),
    ({"to_number": "+1415555012345678"}, {"#/to_number"}),
    ({"to_number": "+1415555\n0123"}, {"#/to_number"}),
    ({"to_number": "+14155550123\n"}, {"#/to_number"}),
    ({"to_number": "+١٤١٥٥٥٥٠١٢٣"}, {"#/to_number"}),
    ({"to_number": 14155550123}, {"#/to_number"}),
    ({"to_number": None}, {"#/to_number"}),
    ({"from_number": "me"}, {"#/from_number"}),
    ({"agent_id": ""}, {"#/agent_id"}),
    ({"agent_id": "a\0b"}, {"#/agent_id"}),
    ({"agent_version": True}, {"#/agent_version"}),
    ({"agent_version": 1.5}, {"#/agent_version"}),
    ({"agent_version": -1}, {"#/agent_version"}),
    ({"agent_version": ""}, {"#/agent_version"}),
    (
        {"dynamic_variables": {"n": 1, "b": True, "ok": "x"}},
        {"#/dynamic_variables/n", "#/dynamic_variables/b"},
    ),
    ({"dynamic_variables": {"z": "a\0b"}}, {"#/dynamic_variables/z"}),
    ({"dynamic_variables": []}, {"#/dynamic_variables"}),
    (
        {"metadata": {"outdial_x": 1, "outdial_/": 2}},
        {"#/metadata/outdial_x", "#/metadata/outdial_~1"},
    ),
    ({"metadata": {"x": "y" * 50_000}}, {"#/metadata"}),
    ({"metadata": {"x": ["a\0b"]}}, {"#/metadata"}),
    ({"metadata": {"x": {"a\0b": 1}}}, {"#/metadata"}),
    ({"metadata": {"x": nested(200)}}, {"#/metadata"}),
    ({"metadata": "x"}, {"#/metadata"}),
    ({"external_id": "x" * 256}, {"#/external_id"}),
    ({"campaign": "x" * 129}, {"#/campaign"}),
    ({"campaign": "a\x1fb"}, {"#/campaign"}),
    ({"time_zone": "Mars/Olympus"}, {"#/time_zone"}),
    ({"not_before": "2199-01-01T00:00:00"}, {"#/not_before"}),
    ({"not_before": "2199-02-30T00:00:00Z"}, {"#/not_before"}),
    ({"not_before": 4102444800}, {"#/not_before"}),
    ({"expires_at": "tomorrow"}, {"#/expires_at"}),
    ({"expires_at": "2020-01-01T00:00:00Z"}, {"#/expires_at"}),
    (
        {"not_before": "2199-01-02T00:00:00Z", "expires_at": "2199-01-02T01:00:00+01:00"},
        {"#/expires_at"},
    ),
    ({"idempotency_key": "x"}, {"#/idempotency_key"}),
    ({"tenant": "other"}, {"#/tenant"}),
]


async def test_each_wrong_field_is_a_422_that_names_it(api: VoiceApi) -> None:
    """One wrong field: its pointer and no other; nothing is stored."""
    for fields, pointers in FAULTS:
        answer = await api.place(**fields)  # type: ignore[arg-type]
        assert (answer.status, answer.pointers) == (422, pointers), fields
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert await api.stored() == 0


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b'{"to_number": "+14155550123", "to_number": "+14155550124"}', {"#/to_number"}),
        (
            b'{"metadata": {"a/b": 1, "x": [{"c": 1, "\\u0063": 1}], "a\\/b": 1, "a/b": 3}}',
            {"#/metadata/a~1b", "#/metadata/x/0/c"},
        ),
        (
            b'{"to_number": "+14155550123", "metadata": {"x": [1, 99999999999999999999], '
            b'"y": -9223372036854775809, "z": ' + b"9" * 100 + b"}}",
            {"#/metadata/x/1", "#/metadata/y", "#/metadata/z"},
        ),
    ],
    ids=["key twice", "key twice within", "integers beyond 64 bits"],
)
async def test_what_could_mean_two_things_is_refused(
    api: VoiceApi, body: bytes, pointers: set[str]
) -> None:
    """Keys that are there twice and integers that would be changed: a 422, in batches too."""
    answer = await api.ask("POST", "/v1/calls", body, JSON)
    assert (answer.status, answer.pointers) == (422, pointers)
    (line,) = (await api.batch(body)).lines
    assert {fault["pointer"] for fault in line["problem"]["errors"]} == pointers
    assert await api.stored() == 0


async def test_metadata_keeps_its_integers_and_depth_to_the_limit(api: VoiceApi) -> None:
    """64 bits and 64 levels are kept as they are; one level more is a 422, and so are thousands."""
    kept = {"low": -(2**63), "high": 2**64 - 1, "x": nested(62)}
    placed = await api.place(metadata=kept)
    assert placed.status == 202
    assert (await api.ask("GET", placed.headers["Location"])).json["metadata"] == kept
    for depth in (63, 500):
        answer = await api.place(metadata={"x": nested(depth)})
        assert (answer.status, answer.pointers) == (422, {"#/metadata"})
    deep = b'{"metadata": ' + b"[" * 3000 + b"]" * 3000 + b"}"
    assert (await api.ask("POST", "/v1/calls", deep, JSON)).status == 422


async def test_every_fault_is_named_at_once(api: VoiceApi) -> None:
    """Wrong fields, unknown ones, the header, what the clock refuses: all in one answer."""
    answer = await api.ask(
        "POST",
        "/v1/calls",
        {
            "to_number": "1",
            "metadata": {"outdial_a": 1},
            "expires_at": "2020-01-01T00:00:00Z",
            "x": 1,
        },
        {"Idempotency-Key": "k" * 256},
    )
    assert answer.status == 422
    assert answer.pointers == {
        "#/to_number",
        "#/metadata/outdial_a",
        "#/expires_at",
        "#/x",
        "Idempotency-Key",
    }
    assert answer.json["status"] == 422
    assert answer.json["type"] == "urn:outdial:problem:validation"
    assert answer.json["title"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"to_number": NaN}', b'{"to_number": "\xff"}', b'{"to_number": "\\ud800"}'],
)
async def test_a_malformed_body_is_a_400(api: VoiceApi, body: bytes) -> None:
    """What is no JSON is told from what is wrong JSON."""
    answer = await api.ask("POST", "/v1/calls", body, JSON)
    assert answer.status == 400
    assert answer.json["type"] == "urn:outdial:problem:malformed-json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7"])
async def test_a_body_that_is_no_object_is_a_422(api: VoiceApi, body: bytes) -> None:
    """Valid JSON of another kind is not valid here."""
    answer = await api.ask("POST", "/v1/calls", body, JSON)
    assert (answer.status, answer.pointers) == (422, {"#"})


@pytest.mark.parametrize("key", ["", "é", "k" * 256])
async def test_a_bad_idempotency_key_is_a_422(api: VoiceApi, key: str) -> None:
    """An empty, a long and a non-ASCII key are refused, not ignored."""
    answer = await api.place({"Idempotency-Key": key})
    assert (answer.status, answer.pointers) == (422, {"Idempotency-Key"})


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_media_type_is_a_415(api: VoiceApi, kind: str) -> None:
    """415 says what is taken."""
    answer = await api.ask(
        "POST", "/v1/calls", b'{"to_number": "+14155550123"}', {"Content-Type": kind}
    )
    assert answer.status == 415
    assert "application/json" in answer.json["detail"]


async def test_a_media_type_may_have_parameters(api: VoiceApi) -> None:
    """`application/json; charset=utf-8` is JSON."""
    answer = await api.ask(
        "POST",
        "/v1/calls",
        b'{"to_number": "+14155550123"}',
        {"Content-Type": "Application/JSON; charset=utf-8"},
    )
    assert answer.status == 202


async def test_a_body_over_a_megabyte_is_a_413(api: VoiceApi) -> None:
    """Declared or streamed in chunks, one byte too many is refused, and the limit itself is not."""
    prefix, suffix = b'{"to_number": "+14155550123"', b"}"
    fits = prefix + b" " * (MEGABYTE - len(prefix) - 1) + suffix

    async def chunked(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    assert (await api.ask("POST", "/v1/calls", fits, JSON)).status == 202
    assert (await api.ask("POST", "/v1/calls", chunked(fits), JSON)).status == 202
    assert (await api.ask("POST", "/v1/calls", fits + b" ", JSON)).status == 413
    answer = await api.ask("POST", "/v1/calls", chunked(fits + b" "), JSON)
    assert answer.status == 413
    assert answer.json["type"] == "urn:outdial:problem:too-large"


@pytest.mark.parametrize("digits", [309, 5_000, 100_000])
@pytest.mark.parametrize(
    "body", ['{"to_number": %s}', '{"to_number": "+14155550123", "metadata": {"a": [-%s]}}', "%s"]
)
async def test_a_number_without_end_is_refused(api: VoiceApi, digits: int, body: str) -> None:
    """Thousands of digits are a clear refusal, alone and in a batch, and sink no other line."""
    text = (body % ("9" * digits)).encode()
    alone = await api.ask("POST", "/v1/calls", text, JSON)
    assert (alone.status, alone.json["type"]) == (400, "urn:outdial:problem:malformed-json")
    assert "a number in the body is beyond all" in alone.json["detail"]
    good = b'{"to_number": "+14155550123"}'
    lines = await api.batch(b"\n".join([good, text, good]))
    assert lines.status == 200
    told = [json.loads(line) for line in lines.text.splitlines()]
    assert [line.get("problem", {}).get("status") for line in told] == [None, 400, None]
    array = await api.batch(b"[" + b",".join([good, text, good]) + b"]", JSON)
    assert [entry.get("problem", {}).get("status") for entry in array.json] == [None, 400, None]


async def test_a_body_without_end_is_refused_while_it_is_read(api: VoiceApi) -> None:
    """413 comes although the body never ends: the rest is not waited for."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {api.secret}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())
    for _ in range(17):
        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        await writer.drain()
    async with asyncio.timeout(10):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_no_key_is_a_401(api: VoiceApi) -> None:
    """Without a key, with another scheme, or with an unknown key: 401, and what to send."""
    for sent in (
        {},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer no"},
    ):
        async with api.session.get(f"{api.url}/v1/calls", headers=sent) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.content_type == "application/problem+json"


async def test_a_wrong_scope_is_a_403(api: VoiceApi) -> None:
    """A key that may read may not place, and the other way round; only admin may pause."""
    read, write = await api.key(Scope.CALLS_READ), await api.key(Scope.CALLS_WRITE)
    admin = await api.key(Scope.ADMIN)
    body = {"to_number": TO}
    assert (await api.ask("POST", "/v1/calls", body, secret=read)).status == 403
    assert (await api.ask("GET", "/v1/calls", secret=write)).status == 403
    refused = await api.ask("POST", "/v1/pause", {}, secret=write)
    assert refused.status == 403
    assert "admin" in refused.json["detail"]
    assert (await api.ask("POST", "/v1/calls", body, secret=write)).status == 202
    assert (await api.ask("GET", "/v1/calls", secret=read)).status == 200
    assert (await api.ask("GET", "/v1/calls", secret=admin)).status == 200


async def test_another_tenants_call_is_a_404(api: VoiceApi) -> None:
    """Not even admin sees or cancels it, and lists leave it out."""
    path = (await api.place()).headers["Location"]
    other = await api.key(*Scope, tenant="other")
    assert (await api.ask("GET", path, secret=other)).status == 404
    assert (await api.ask("POST", f"{path}/cancel", secret=other)).status == 404
    assert (await api.ask("GET", "/v1/calls", secret=other)).json["items"] == []
    assert (await api.ask("GET", path)).json["status"] == "queued"


async def test_unknown_routes_and_methods_are_problems_too(api: VoiceApi) -> None:
    """404 and 405 have the same form; 405 says what is allowed."""
    nowhere = await api.ask("GET", "/v1/nowhere")
    wrong = await api.ask("DELETE", "/v1/calls")
    assert (nowhere.status, nowhere.json["type"]) == (404, "urn:outdial:problem:not-found")
    assert (wrong.status, wrong.json["type"]) == (405, "urn:outdial:problem:method-not-allowed")
    assert wrong.headers["Allow"] == "GET, POST"
    assert wrong.json["detail"] == "DELETE is not allowed here, only GET, POST"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=abc", "must be a whole number"),
        ("limit=0", "must be 1 or more"),
        ("limit=201", "must be 200 or less"),
        ("status=zzz", "must be one of scheduled, queued, dialing"),
        ("external_id=", "must have 1 to 255 characters"),
        (f"cursor={1001 * 'a'}", "must have 1000 characters or fewer"),
        ("cursor=%00", "has characters that are not allowed here"),
        ("colour=red", "is not a known parameter"),
    ],
)
async def test_a_wrong_parameter_is_told_in_plain_words(
    api: VoiceApi, query: str, words: str
) -> None:
    """Each 422 says what would be right, and nothing in the validation library's jargon."""
    answer = await api.ask("GET", f"/v1/calls?{query}")
    (fault,) = answer.json["errors"]
    assert (answer.status, fault["pointer"]) == (422, f"?{query.partition('=')[0]}")
    assert fault["detail"].startswith(words)


async def test_pauses_are_pressed_listed_and_lifted(api: VoiceApi) -> None:
    """Each scope of a pause is its own; resuming all lifts all; no body means all."""
    for asked in ({"tenant": "acme"}, {"campaign": "x"}, {"campaign": "x"}):
        assert (await api.ask("POST", "/v1/pause", asked)).status == 200
    everything = await api.ask("POST", "/v1/pause")
    scopes = [(item["tenant"], item["campaign"]) for item in everything.json["items"]]
    assert sorted(scopes, key=str) == [("acme", None), (None, "x"), (None, None)]
    assert everything.json["items"][0]["since"].endswith("Z")
    rest = await api.ask("POST", "/v1/resume", {"campaign": "x"})
    assert len(rest.json["items"]) == 2
    assert (await api.ask("POST", "/v1/resume", {})).json == {"items": [], "next_cursor": None}
    assert (await api.ask("GET", "/v1/pauses")).json["items"] == []


async def test_a_bad_pause_is_refused(api: VoiceApi) -> None:
    """Unknown fields would pause more than was meant; a body must be JSON."""
    typo = await api.ask("POST", "/v1/pause", {"campain": "x", "tenant": 1})
    assert (typo.status, typo.pointers) == (422, {"#/campain", "#/tenant"})
    assert (await api.ask("POST", "/v1/pause", b"{", JSON)).status == 400
    assert (await api.ask("POST", "/v1/pause", b"{}", {"Content-Type": "text/plain"})).status == 415
    assert (await api.ask("GET", "/v1/pauses")).json["items"] == []
