"""The analytics API as a program meets it."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from outdial.core.times import to_rfc3339
from tests.flow.web_api_service import DAY, NOW, Service, running
from tests.warehouse_rows import Row, call_row

_CSV = "text/csv"
_PARQUET = "application/vnd.apache.parquet"
ENDPOINTS = (
    "/overview",
    "/timeseries",
    "/breakdown?by=agent_id",
    "/query?metrics=calls,cost_usd&dimensions=campaign,outcome",
    "/funnel",
    "/latency",
    "/metrics",
    "/calls",
    "/attempts",
)


@pytest.fixture
async def service(outdial_home: Path) -> AsyncIterator[Service]:
    """300 calls of this tenant, 40 of another."""
    async with running(outdial_home) as found:
        yield found


def _answered(rows: list[Row]) -> int:
    return sum(row["outcome"] == "answered" for row in rows)


async def test_overview_counts_the_rows(service: Service) -> None:
    """The figures are those of the tenant's own rows."""
    body = (await service.get("/overview")).json()
    attempts = service.rows.attempts
    ended = [row for row in attempts if row["status"] in {"completed", "failed"}]
    metrics = body["metrics"]
    assert metrics["calls"] == len(service.rows.calls) == 300
    assert metrics["attempts"] == len(attempts)
    assert metrics["answer_rate"] == _answered(ended) / len(ended)
    assert metrics["cost_usd"] == pytest.approx(sum(row["cost_usd"] or 0 for row in attempts))
    assert (body["from"], body["to"], body["tz"]) == (None, None, "UTC")


async def test_breakdown_adds_up_to_the_overview(service: Service) -> None:
    """Groups, largest first, hold every attempt once."""
    body = (await service.get("/breakdown?by=outcome&metrics=attempts,calls")).json()
    assert [column["name"] for column in body["columns"]] == ["outcome", "attempts", "calls"]
    assert [column["kind"] for column in body["columns"]] == ["dimension", "metric", "metric"]
    found = {row[0]: row[1] for row in body["rows"]}
    assert found == Counter(row["outcome"] for row in service.rows.attempts)
    counts = [row[1] for row in body["rows"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(row[2] for row in body["rows"]) == 300


async def test_timeseries_has_no_gaps(service: Service) -> None:
    """Quiet steps are zeros, rates there null, and the sum is the overview's."""
    quiet = call_row(created_at=NOW - 20 * DAY)
    await service.warehouse.load([quiet], [], [], NOW)
    body = (await service.get("/timeseries?metrics=calls,answer_rate")).json()
    assert len(body["rows"]) == 21
    assert body["rows"][0][1:] == [1, None]
    assert body["rows"][1][1:] == [0, None]
    assert sum(row[1] for row in body["rows"]) == 301


@pytest.mark.parametrize("interval", ["minute", "hour", "day", "week", "month"])
async def test_every_interval_counts_all(service: Service, interval: str) -> None:
    """Whatever the step, and across a zone off by half an hour, nothing falls between."""
    path = f"/timeseries?metrics=calls&interval={interval}&tz=Asia/Kolkata"
    rows = (await service.get(path)).json()["rows"]
    assert sum(row[1] for row in rows) == 300
    names = [row[0] for row in rows]
    assert names == sorted(set(names))


async def test_filters_narrow(service: Service) -> None:
    """Values of one filter are alternatives, filters together are conditions; empty is none."""
    path = "/overview?outcome=answered&outcome=voicemail&campaign=night-nurses&metrics=attempts"
    expected = sum(
        row["outcome"] in {"answered", "voicemail"} and row["campaign"] == "night-nurses"
        for row in service.rows.attempts
    )
    assert (await service.get(path)).json()["metrics"] == {"attempts": expected}
    path = "/overview?outcome=&metrics=attempts"
    open_ones = sum(row["outcome"] is None for row in service.rows.attempts)
    assert (await service.get(path)).json()["metrics"] == {"attempts": open_ones}


async def test_dates_are_days_of_the_zone(service: Service) -> None:
    """`from` and `to` as dates take in whole local days; as times they are exact, `to` outside."""
    at = 1_789_160_400_000  # 2026-09-11T21:00:00Z, the first ms of the 12th in Riyadh
    await service.warehouse.load(
        [call_row(created_at=at - 1, campaign="edge"), call_row(created_at=at, campaign="edge")],
        [],
        [],
        NOW,
    )

    async def calls(query: str) -> int:
        body = (await service.get(f"/overview?campaign=edge&metrics=calls&{query}")).json()
        return int(body["metrics"]["calls"])

    assert await calls("from=2026-09-11&to=2026-09-11&tz=Asia/Riyadh") == 1
    assert await calls("from=2026-09-12&to=2026-09-12&tz=Asia/Riyadh") == 1
    assert await calls("from=2026-09-11&to=2026-09-12&tz=Asia/Riyadh") == 2
    assert await calls(f"from={to_rfc3339(at)}") == 1
    assert await calls(f"to={to_rfc3339(at)}") == 1
    assert await calls("from=2026-09-12T00:00:00%2B03:00") == 1


async def test_funnel_begins_with_all_and_explains_the_rest(service: Service) -> None:
    """Accepted is every call; each loss has a reason and adds up."""
    steps = (await service.get("/funnel")).json()["steps"]
    names = [step["name"] for step in steps]
    assert names == ["accepted", "dialed", "connected", "answered", "successful"]
    assert steps[0]["count"] == 300
    assert steps[3]["count"] == _answered(service.rows.attempts)
    losses = sum(loss["count"] for step in steps for loss in step["lost"])
    assert 300 - losses == steps[-1]["count"]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_every_answer_is_fresh_and_also_csv(service: Service, path: str) -> None:
    """`as_of` is in the JSON and in the header; CSV is rectangular."""
    answer = await service.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["as_of"] == answer.headers["outdial-as-of"] == to_rfc3339(NOW)
    sheet = await service.get(path, accept=_CSV)
    assert sheet.headers["content-type"].startswith(_CSV)
    assert sheet.headers["outdial-as-of"] == to_rfc3339(NOW)
    lines = list(csv.reader(io.StringIO(sheet.text)))
    assert len(lines) > 1
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("path", [*ENDPOINTS, "/calls/anything"])
async def test_every_endpoint_asks_for_a_key(service: Service, path: str) -> None:
    """Without a key 401; with one of another scope 403."""
    bare = await service.client.get(f"{service.url}/v1/analytics{path}")
    assert bare.status_code == 401
    assert (await service.get(path, key=service.writer_key)).status_code == 403


async def test_a_tenant_sees_its_own_rows_only(service: Service) -> None:
    """Nothing of another tenant shows anywhere, not even to an admin key."""
    ours = {row["call_id"] for row in service.rows.calls}
    for key in (service.other_key, service.admin_key):
        for path in ENDPOINTS:
            text = (await service.get(path, key=key)).text
            assert not any(call_id in text for call_id in ours)
        body = (await service.get("/overview", key=key)).json()
        assert body["metrics"]["calls"] == 40
        one = next(iter(ours))
        assert (await service.get(f"/calls/{one}", key=key)).status_code == 404
        assert (await service.get(f"/calls/{one}")).status_code == 200


async def test_pages_are_stable_while_rows_come_in(service: Service) -> None:
    """Turning pages gives each row once, newest first, though newer ones arrive."""
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        body = (await service.get(f"/calls?limit=70{cursor}")).json()
        seen += body["items"]
        await service.warehouse.load([call_row(created_at=NOW + len(seen))], [], [], NOW)
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert len(seen) == len({item["id"] for item in seen}) == 300
    times = [item["created_at"] for item in seen]
    assert times == sorted(times, reverse=True)


async def test_csv_and_parquet_hold_every_row(service: Service) -> None:
    """Both round-trip to the rows themselves."""
    expected = {
        row["attempt_id"]: (row["outcome"], row["duration_ms"], row["cost_usd"])
        for row in service.rows.attempts
    }
    sheet = (await service.get("/attempts", accept=_CSV)).text
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(sheet))}
    assert set(lines) == set(expected)
    for key, (outcome, duration, cost) in expected.items():
        assert lines[key]["outcome"] == (outcome or "")
        assert lines[key]["duration_ms"] == ("" if duration is None else str(duration))
        assert lines[key]["cost_usd"] == ("" if cost is None else str(cost))
    target = service.home / "rows.parquet"
    answer = await service.get("/attempts", accept=_PARQUET)
    assert answer.headers["content-type"] == _PARQUET
    target.write_bytes(answer.content)
    with duckdb.connect() as reader:
        rows = reader.execute(
            "SELECT id, outcome, duration_ms, cost_usd FROM read_parquet(?)", [str(target)]
        ).fetchall()
    assert {row[0]: row[1:] for row in rows} == expected


async def test_csv_disarms_formulas(service: Service) -> None:
    """What a spreadsheet would run is text there; phone numbers stay as they are."""
    row = call_row(
        campaign="formulas",
        external_id='=HYPERLINK("http://x","y")',
        to_number="+14155550123",
        agent_id="-1+2",
        agent_version="@SUM(A1)",
        reason="\tcmd",
    )
    await service.warehouse.load([row], [], [], NOW)
    sheet = (await service.get("/calls?campaign=formulas", accept=_CSV)).text
    line = next(csv.DictReader(io.StringIO(sheet)))
    assert line["external_id"] == "'" + row["external_id"]
    assert (line["agent_id"], line["agent_version"]) == ("'-1+2", "'@SUM(A1)")
    assert (line["reason"], line["to_number"]) == ("'\tcmd", "+14155550123")


@pytest.mark.parametrize(
    "evil",
    ["' OR 1=1 --", "x') OR TRUE --", "'; DROP TABLE calls; --", '"', "\\", "?", "%27", "\x00"],
)
async def test_values_are_never_sql(service: Service, evil: str) -> None:
    """Whatever a filter, an id or a cursor says, it is compared and never run."""
    for name in ("campaign", "agent_id", "to_number", "external_id"):
        answer = await service.client.get(
            f"{service.url}/v1/analytics/overview",
            params={name: evil, "metrics": "calls,attempts"},
            headers={"Authorization": f"Bearer {service.key}"},
        )
        assert answer.json()["metrics"] == {"calls": 0, "attempts": 0}
    for name in ("metrics", "dimensions", "sort", "tz", "from", "limit", "outcome", "foo"):
        answer = await service.client.get(
            f"{service.url}/v1/analytics/query",
            params={name: evil},
            headers={"Authorization": f"Bearer {service.key}"},
        )
        assert answer.status_code == 422, (name, answer.text)
    assert (await service.get("/overview")).json()["metrics"]["calls"] == 300


@pytest.mark.parametrize(
    ("path", "pointer", "words"),
    [
        ("/overview?metrics=calls,speed", "?metrics", "'speed' is not a metric; known are calls"),
        ("/query?dimensions=colour", "?dimensions", "'colour' is not a dimension; known are month"),
        ("/funnel?colour=red", "?colour", "is not known here; known are agent_id"),
        ("/calls?outcome=zzz", "?outcome", "'zzz' is none; must be one of answered, voicemail"),
        ("/calls?status=claimed", "?status", "must be one of scheduled, queued, dialing"),
        ("/attempts?status=queued", "?status", "must be one of claimed, unknown, initiated"),
        ("/overview?status=zzz", "?status", "must be one of scheduled, queued, dialing"),
        ("/overview?tz=Mars/Olympus", "?tz", "IANA"),
        ("/overview?tz=localtime", "?tz", "IANA"),
        ("/overview?from=yesterday", "?from", "must be a date"),
        ("/overview?from=2026-11-22&to=2026-11-21", "?to", "later than from"),
        ("/timeseries?interval=century", "?interval", "must be one of minute"),
        ("/timeseries?interval=minute&from=2020-01-01", "?interval", "too short"),
        ("/calls?limit=0", "?limit", "1 to 1000"),
        ("/calls?limit=1001", "?limit", "1 to 1000"),
        ("/calls?limit=2&format=csv", "?limit", "CSV and Parquet hold all rows"),
        ("/calls?limit=2&format=parquet", "?limit", "CSV and Parquet hold all rows"),
        ("/calls?cursor=nonsense", "?cursor", "next_cursor"),
        ("/calls?cursor=WzEsMl0", "?cursor", "next_cursor"),
        ("/breakdown?sort=colour", "?sort", "must be one of outcome, attempts"),
        ("/overview?format=parquet", "?format", "must be one of json, csv"),
        ("/breakdown?by=outcome&dimensions=campaign", "?dimensions", "means the same as by"),
    ],
)
async def test_faults_are_named(service: Service, path: str, pointer: str, words: str) -> None:
    """A wrong parameter is a 422 that says which and what would be right."""
    answer = await service.get(path)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/overview?from=2026-09-01&from=2026-09-02", "from"),
        ("/overview?to=2026-09-01&to=2026-09-02", "to"),
        ("/latency?tz=UTC&tz=Asia/Tokyo", "tz"),
        ("/funnel?format=csv&format=json", "format"),
        ("/timeseries?interval=day&interval=hour", "interval"),
        ("/breakdown?limit=1&limit=2", "limit"),
        ("/query?dimensions=outcome&sort=outcome&sort=-outcome", "sort"),
        ("/calls?cursor=&cursor=", "cursor"),
        ("/attempts?limit=5&limit=5", "limit"),
    ],
)
async def test_what_has_one_value_is_given_once(service: Service, path: str, name: str) -> None:
    """Of two values none is taken silently: a 422 names the parameter."""
    answer = await service.get(path)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault == {"pointer": f"?{name}", "detail": "may be given once"}


async def test_lists_may_be_given_in_pieces(service: Service) -> None:
    """Metrics and dimensions that are repeated are as if separated by commas."""
    apart = (await service.get("/breakdown?by=outcome&by=campaign&metrics=calls")).json()
    assert apart == (await service.get("/breakdown?by=outcome,campaign&metrics=calls")).json()


async def test_all_faults_are_named_at_once(service: Service) -> None:
    """Three mistakes, three faults."""
    answer = await service.get("/breakdown?by=colour&metrics=speed&tz=Mars")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["?tz", "?by", "?metrics"]


async def test_formats_we_do_not_have_are_refused(service: Service) -> None:
    """406 names what there is; the best of several acceptable ones is taken."""
    refused = await service.get("/overview", accept="image/png")
    assert refused.status_code == 406
    assert refused.json()["type"] == "urn:outdial:problem:not-acceptable"
    mixed = await service.get("/overview", accept="text/csv;q=0.2, application/json;q=0.9")
    assert mixed.headers["content-type"] == "application/json"


async def test_a_call_tells_its_story(service: Service) -> None:
    """Details, transcript in turns, and the timeline from accepted to its end."""
    attempt = next(row for row in service.rows.attempts if row["outcome"] == "answered")
    body = (await service.get(f"/calls/{attempt['call_id']}")).json()
    assert body["id"] == attempt["call_id"]
    assert body["attempts"][0]["custom_analysis_data"]["interview_slot"] == "Friday 9:30"
    transcript = body["attempts"][0]["transcript"]
    assert [turn["role"] for turn in transcript[:3]] == ["agent", "user", "agent"]
    kinds = [entry["kind"] for entry in body["timeline"]]
    assert kinds == [
        "accepted",
        "voice_call.initiated",
        "voice_call.started",
        "voice_call.completed",
    ]


async def test_the_definitions_are_listed(service: Service) -> None:
    """Each metric has a meaning and its SQL; they are the overview's names."""
    listed = (await service.get("/metrics")).json()
    overview = (await service.get("/overview")).json()
    assert [metric["name"] for metric in listed["metrics"]] == list(overview["metrics"])
    assert all(metric["meaning"] and metric["sql"] for metric in listed["metrics"])


async def test_no_rows_are_an_answer(outdial_home: Path) -> None:
    """Before the first call counts are 0, rates null, series and pages empty."""
    async with running(outdial_home, calls=0) as service:
        body = (await service.get("/overview")).json()["metrics"]
        assert (body["calls"], body["cost_usd"], body["answer_rate"]) == (0, 0.0, None)
        assert (await service.get("/timeseries")).json()["rows"] == []
        assert (await service.get("/calls")).json()["items"] == []
        steps = (await service.get("/funnel")).json()["steps"]
        assert {(step["count"], step["share"]) for step in steps} == {(0, None)}


async def test_a_warehouse_that_is_away_is_a_503(service: Service) -> None:
    """The problem names the warehouse, and says nothing of its inside."""
    await service.warehouse.query("ALTER TABLE calls RENAME TO hidden")
    answer = await service.get("/overview")
    assert answer.status_code == 503
    assert "warehouse" in answer.json()["detail"]
    assert "hidden" not in answer.text
    assert answer.headers["retry-after"]


async def test_the_last_day_there_is_may_end_a_question(service: Service) -> None:
    """`to=9999-12-31` is a date like any other, west and east of Greenwich."""
    for tz in ("UTC", "America/New_York", "Asia/Tokyo"):
        answer = await service.get(f"/overview?metrics=calls&to=9999-12-31&tz={tz}")
        assert answer.status_code == 200
        assert answer.json()["metrics"] == {"calls": 300}
