"""Batches: streamed both ways, answered line by line, each answer after its commit."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.flow.voice_api import JSON, NDJSON, VoiceApi, voice_api

LINE = b'{"to_number": "+14155550123"}\n'


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The service on a ledger of the test's own."""
    async with voice_api(ledger_url) as running:
        yield running


async def test_one_bad_line_does_not_sink_the_others(api: VoiceApi) -> None:
    """An answer an input line, in order, under its own number; blank lines have none."""
    body = (
        b'\xef\xbb\xbf{"to_number": "+14155550123"}\r\n'
        b"\n"
        b"{not json\n"
        b'{"to_number": "1", "x": 1}\n'
        b'{"to_number": "\xff"}\n'
        b"   \n"
        b"[]\n"
        b'{"to_number": "+14155550124"}'
    )
    answer = await api.batch(body)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [
        (entry["line"], entry.get("status") or entry["problem"]["status"]) for entry in answer.lines
    ] == [(1, "queued"), (3, 400), (4, 422), (5, 400), (7, 422), (8, "queued")]
    faults = answer.lines[2]["problem"]["errors"]
    assert {fault["pointer"] for fault in faults} == {"#/to_number", "#/x"}
    assert await api.stored() == 2


async def test_a_truncated_last_line_is_refused_alone(api: VoiceApi) -> None:
    """A body that breaks off within a line: the lines before it are placed."""
    answer = await api.batch(LINE * 2 + b'{"to_number": "+14155')
    assert [entry.get("status") for entry in answer.lines] == ["queued", "queued", None]
    assert answer.lines[2]["problem"]["status"] == 400


async def test_keys_of_lines_are_those_of_single_calls(api: VoiceApi) -> None:
    """A key repeats within a batch, between batches, and between a batch and a single call."""
    line = b'{"to_number": "+14155550123", "idempotency_key": "once"}\n'
    single = await api.place({"Idempotency-Key": "once"})
    first = await api.batch(line * 2)
    again = await api.batch(line + b'{"to_number": "+14155550124", "idempotency_key": "once"}')
    ids = {entry.get("id") for entry in first.lines + again.lines[:1]}
    assert ids == {single.json["id"]}
    assert again.lines[1]["problem"]["type"] == "urn:outdial:problem:idempotency-key-reused"
    assert await api.stored() == 1


async def test_a_key_of_the_whole_batch_is_refused(api: VoiceApi) -> None:
    """A header `Idempotency-Key` is a 422 that says what to use instead; nothing is placed."""
    for headers in (NDJSON, JSON):
        answer = await api.batch(LINE, headers | {"Idempotency-Key": "all"})
        assert answer.status == 422
        assert answer.pointers == {"Idempotency-Key"}
        assert "idempotency_key" in answer.json["errors"][0]["detail"]
    assert await api.stored() == 0
    document = (await api.ask("GET", "/openapi.json")).json
    operation = document["paths"]["/v1/calls/batch"]["post"]
    assert "422" in operation["responses"]
    assert "idempotency_key" in operation["description"]


async def test_a_key_twice_in_a_batch_places_one_call(api: VoiceApi) -> None:
    """The later line repeats the first; with another body it is refused."""
    answer = await api.batch(
        b'{"to_number": "+14155550123", "idempotency_key": "a"}\n'
        b'{"to_number": "+14155550123", "idempotency_key": "a"}\n'
        b'{"to_number": "+14155550124", "idempotency_key": "a"}\n'
        b'{"to_number": "+14155550124", "idempotency_key": ""}\n'
        b'{"to_number": "+1", "idempotency_key": 7}\n'
    )
    first, second, *rest = answer.lines
    assert first["id"] == second["id"]
    assert [entry["problem"]["status"] for entry in rest] == [422, 422, 422]
    pointers = {fault["pointer"] for fault in rest[2]["problem"]["errors"]}
    assert pointers == {"#/idempotency_key", "#/to_number"}
    assert await api.stored() == 1


async def test_an_array_is_answered_by_an_array(api: VoiceApi) -> None:
    """Elements are counted from 1; strings that look like structure are only strings."""
    body = b' [ {"to_number": "+14155550123", "metadata": {"a": "]},[\\"{"}} , 7,{} ] '
    answer = await api.batch(body, JSON)
    assert answer.headers["Content-Type"] == "application/json"
    assert [entry["line"] for entry in answer.json] == [1, 2, 3]
    assert answer.json[0]["status"] == "queued"
    assert [entry["problem"]["status"] for entry in answer.json[1:]] == [422, 422]


async def test_empty_batches_have_empty_answers(api: VoiceApi) -> None:
    """No line, no answer; an empty array, an empty array."""
    assert (await api.batch(b"")).text == ""
    assert (await api.batch(b"\n\n")).text == ""
    assert (await api.batch(b"[]", JSON)).json == []


@pytest.mark.parametrize("body", [b"", b"{}", b'"x"', b"x"])
async def test_what_is_no_array_is_a_400(api: VoiceApi, body: bytes) -> None:
    """The whole request is refused before anything is stored."""
    assert (await api.batch(body, JSON)).status == 400


async def test_a_broken_array_ends_with_a_problem(api: VoiceApi) -> None:
    """What came before the break is placed; the last answer says what is wrong."""
    for tail in (b"", b',{"to_num', b"] x"):
        answer = await api.batch(b'[{"to_number": "+14155550123"},' + LINE.strip() + tail, JSON)
        problems = [entry for entry in answer.json if "problem" in entry]
        assert [entry["problem"]["status"] for entry in problems] == [400]
        assert answer.json[0]["status"] == "queued"
        assert problems == answer.json[-1:]


async def test_other_media_types_are_a_415(api: VoiceApi) -> None:
    """415 names both that are taken."""
    answer = await api.batch(LINE, {"Content-Type": "text/csv"})
    assert answer.status == 415
    assert "application/x-ndjson" in answer.json["detail"]


async def test_a_line_over_a_megabyte_is_refused_alone(api: VoiceApi) -> None:
    """413 for that line, in both forms, and the next one is read."""
    long = b'{"to_number": "+14155550123", "metadata": {"x": "' + b"y" * 1_100_000 + b'"}}'
    lines = await api.batch(LINE + long + b"\n" + LINE)
    array = await api.batch(b"[" + LINE + b"," + long + b"," + LINE + b"]", JSON)
    for entries in (lines.lines, array.json):
        assert [entry["line"] for entry in entries] == [1, 2, 3]
        assert entries[1]["problem"]["status"] == 413
        assert entries[2]["status"] == "queued"


async def test_too_many_lines_end_the_batch(api: VoiceApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line too many is told so, and nothing after it is read."""
    monkeypatch.setattr("outdial.internal_api.pieces.MOST_LINES", 3)
    lines = await api.batch(LINE * 6)
    array = await api.batch(b"[" + b",".join([LINE] * 6) + b"]", JSON)
    for entries in (lines.lines, array.json):
        assert [entry["line"] for entry in entries] == [1, 2, 3, 4]
        assert entries[3]["problem"]["status"] == 413
    assert await api.stored() == 6


async def test_a_batch_too_large_in_all_is_refused(
    api: VoiceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where its length is declared; else the next answer says so and is the last."""
    monkeypatch.setattr("outdial.internal_api.batch.LARGEST_BATCH", 10 * len(LINE))
    assert (await api.batch(LINE * 11)).status == 413
    answered = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield LINE * 5
        await answered.wait()
        yield LINE * 6

    headers = NDJSON | {"Authorization": f"Bearer {api.secret}"}
    async with api.session.post(
        f"{api.url}/v1/calls/batch", data=stream(), headers=headers
    ) as response:
        entries = [json.loads(await response.content.readline()) for _ in range(5)]
        answered.set()
        entries += [json.loads(line) async for line in response.content]
    assert [entry["line"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[5]["problem"]["status"] == 413


async def test_answers_come_while_the_batch_is_sent(api: VoiceApi) -> None:
    """A line is answered, and durable, before the next one is sent."""
    answered = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield LINE
        await answered.wait()
        yield LINE

    headers = NDJSON | {"Authorization": f"Bearer {api.secret}"}
    async with api.session.post(
        f"{api.url}/v1/calls/batch", data=stream(), headers=headers
    ) as response:
        async with asyncio.timeout(10):
            first = json.loads(await response.content.readline())
        assert await api.ledger.intake.get("acme", first["id"]) is not None
        answered.set()
        assert json.loads(await response.content.readline())["line"] == 2


async def test_a_sender_that_reads_nothing_first_is_not_stuck(api: VoiceApi) -> None:
    """Thousands of long answers wait until the sender has sent all and begins to read."""
    host, port = api.url.removeprefix("http://").split(":")
    bad = json.dumps({f"unknown_{n}": 1 for n in range(150)}).encode() + b"\n"
    body = bad * 1000
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    writer.write(
        b"POST /v1/calls/batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/x-ndjson\r\nAuthorization: Bearer "
        + api.secret.encode()
        + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    async with asyncio.timeout(60):
        for start in range(0, len(body), 65_536):
            writer.write(body[start : start + 65_536])
            await writer.drain()
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert received.count(b'{"line":') == 1000
    assert received.endswith(b"0\r\n\r\n")


async def test_the_database_lost_half_way_is_a_503_for_the_rest(api: VoiceApi) -> None:
    """What was committed stays answered; every line after that has a 503, bad ones their own."""
    api.intake.commits_left = 1
    sent = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield LINE * 3
        await sent.wait()
        yield LINE * 2 + b"{bad\n" + LINE

    headers = NDJSON | {"Authorization": f"Bearer {api.secret}"}
    async with api.session.post(
        f"{api.url}/v1/calls/batch", data=stream(), headers=headers
    ) as response:
        entries = [json.loads(await response.content.readline()) for _ in range(3)]
        sent.set()
        entries += [json.loads(line) async for line in response.content]
    statuses = [entry.get("status") or entry["problem"]["status"] for entry in entries]
    assert statuses == ["queued"] * 3 + [503, 503, 400, 503]
    assert await api.stored() == 3


async def test_the_database_away_from_the_start_is_a_503(api: VoiceApi) -> None:
    """Nothing was stored, so the whole batch is refused, with the time to ask again."""
    api.intake.commits_left = 0
    answer = await api.batch(LINE * 3)
    assert answer.status == 503
    assert "Retry-After" in answer.headers


async def test_lines_share_commits(api: VoiceApi) -> None:
    """A thousand lines take some commits, of at most some hundred lines each."""
    answer = await api.batch(LINE * 1000)
    assert [entry["line"] for entry in answer.lines] == list(range(1, 1001))
    assert sum(api.intake.commits) == 1000
    assert len(api.intake.commits) < 100
    assert max(api.intake.commits) <= 500


async def test_a_sender_that_breaks_off_leaves_whole_calls(api: VoiceApi) -> None:
    """Lines that were whole are placed; the one that was cut is not, though it is valid JSON."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/calls/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        b"Authorization: Bearer "
        + api.secret.encode()
        + b"\r\nContent-Length: 1000\r\n\r\n"
        + LINE * 2
        + LINE.strip()
    )
    async with asyncio.timeout(10):
        while b'"line":2' not in await reader.readline():
            pass
    writer.close()
    await writer.wait_closed()
    assert (await api.place()).status == 202
    assert await api.stored() == 3
