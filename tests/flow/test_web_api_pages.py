"""The pages as a browser's requests meet them: logging in, what is shown, what is refused."""

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from outdial.dashboard.session import COOKIE, Tokens, login_path
from outdial.http_common.auth import secret_hash
from tests.flow.web_api_service import NOW, Service, running
from tests.warehouse_rows import attempt_row, call_row

_EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"


@pytest.fixture
async def service(outdial_home: Path) -> AsyncIterator[Service]:
    """300 calls of this tenant, 40 of another."""
    async with running(outdial_home) as found:
        yield found


async def log_in(service: Service, key: str, target: str = "/") -> httpx.Response:
    """Send the form."""
    return await service.client.post(f"{service.url}/login", data={"key": key, "next": target})


async def test_a_stranger_is_sent_to_log_in(service: Service) -> None:
    """Without a session each page leads to the form, and back afterwards."""
    answer = await service.client.get(f"{service.url}/calls/abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/calls/abc")
    assert (await service.client.get(f"{service.url}/live")).status_code == 401
    form = await service.client.get(f"{service.url}/login?next=/calls/abc")
    assert 'value="/calls/abc"' in form.text


async def test_a_key_opens_the_pages_and_stays_out_of_the_cookie(service: Service) -> None:
    """The cookie is for the server only, holds no key, and also opens downloads."""
    answer = await log_in(service, service.key)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert service.key not in cookie
    page = await service.client.get(f"{service.url}/?period=all")
    assert page.status_code == 200
    assert re.search(r"Calls</h2>\s*<p class=\"figure\">300<", page.text)
    sheet = await service.client.get(f"{service.url}/v1/analytics/calls?format=csv")
    assert sheet.text.count("\r\n") == 301


async def test_wrong_keys_do_not_open_the_pages(service: Service) -> None:
    """Unknown keys and keys that may not read analytics are told apart."""
    assert "unknown or revoked" in (await log_in(service, "od_guess")).text
    answer = await log_in(service, service.writer_key)
    assert answer.status_code == 403
    assert "analytics:read" in answer.text
    assert COOKIE not in service.client.cookies


async def test_revoking_the_key_ends_the_session(service: Service) -> None:
    """The cookie is worth what the key is worth."""
    await log_in(service, service.key)
    await service.keys.revoke(service.keys.records[secret_hash(service.key)].id)
    assert (await service.client.get(f"{service.url}/")).status_code == 303


async def test_forged_and_stale_cookies_are_refused(service: Service) -> None:
    """Another secret, another purpose, an end that is over, a changed byte: no session."""
    hashed = secret_hash(service.key)
    tokens = Tokens.of_home(service.home)
    good = tokens.sign("session", hashed, 60)
    for forged in (
        Tokens(b"another secret").sign("session", hashed, 60),
        tokens.sign("link", hashed, 60),
        tokens.sign("session", hashed, 0),
        good[:-4] + "AAAA",
        good + ".x",
        "",
        "ü",
        hashed,
    ):
        assert tokens.read("session", forged) is None
    assert tokens.read("session", good) == hashed
    service.client.cookies.set(COOKIE, good[:-4] + "AAAA")
    assert (await service.client.get(f"{service.url}/")).status_code == 303


async def test_the_printed_link_logs_in_without_the_key_in_the_url(service: Service) -> None:
    """`login_path` leads to a session; a made-up token leads to the form."""
    path = login_path(service.home, service.key)
    assert service.key not in path
    answer = await service.client.get(service.url + path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await service.client.get(f"{service.url}/")).status_code == 200
    assert "over" in (await service.client.get(f"{service.url}/login?token=a.b")).text


async def test_the_cookie_changes_nothing_on_its_own(service: Service) -> None:
    """What another site starts with the cookie alone is refused."""
    await log_in(service, service.admin_key)
    assert (await service.client.post(f"{service.url}/v1/warehouse/rebuild")).status_code == 401
    answer = await service.client.post(
        f"{service.url}/login",
        data={"key": service.key},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_logging_in_leads_nowhere_else(service: Service, target: str) -> None:
    """`next` stays on this site."""
    assert (await log_in(service, service.key, target)).headers["location"] == "/"


async def test_logging_out_ends_it(service: Service) -> None:
    """The cookie is taken away."""
    await log_in(service, service.key)
    await service.client.post(f"{service.url}/logout")
    assert (await service.client.get(f"{service.url}/")).status_code == 303


async def test_hostile_text_is_only_text(service: Service) -> None:
    """Summaries, transcripts, labels and analysis of strangers are shown and never run."""
    call = call_row(call_id="evil", campaign=_EVIL, created_at=NOW, attempts=1, status="completed")
    attempt = attempt_row(
        call_id="evil",
        status="completed",
        outcome=_EVIL,
        call_summary=_EVIL,
        transcript=f"Agent: {_EVIL}\nUser: {_EVIL}",
        recording_url="javascript:alert(3)",
        custom_analysis_data='{"<b>": "<script>"}',
        campaign=_EVIL,
        submitted_at=NOW,
        initiated_at=NOW,
    )
    await service.warehouse.load([call], [attempt], [], NOW)
    await log_in(service, service.key)
    for path in ("/?period=all", "/calls/evil", f"/?period=all&campaign={_EVIL}"):
        page = await service.client.get(service.url + path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "javascript:" not in page.text
        assert "49" not in re.findall(r"\{\{.*?\}\}", page.text)
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


async def test_another_tenants_call_is_not_there(service: Service) -> None:
    """404, as for a call that never was."""
    await log_in(service, service.other_key)
    one = service.rows.calls[0]["call_id"]
    assert (await service.client.get(f"{service.url}/calls/{one}")).status_code == 404
    page = await service.client.get(f"{service.url}/?period=all")
    assert page.text.count('href="/calls/') == 12
    ours = {row["call_id"] for row in service.rows.calls}
    assert not any(call_id in page.text for call_id in ours)


async def test_nonsense_in_the_url_is_left_out(service: Service) -> None:
    """A page is shown whatever its URL says."""
    await log_in(service, service.key)
    for query in (
        "from=yesterday&to=9999-12-31&tz=Mars",
        "period=century&cursor=nonsense",
        "from=2026-12-31&to=2026-01-01&outcome=&agent_id=%00",
    ):
        assert (await service.client.get(f"{service.url}/?{query}")).status_code == 200


@pytest.mark.parametrize("day", ["9999-12-31", "9001-01-01"])
@pytest.mark.parametrize("tz", ["America/New_York", "Asia/Tokyo"])
async def test_a_far_day_is_a_day(service: Service, day: str, tz: str) -> None:
    """Up to the last day there is, a date is taken as the API takes it."""
    await log_in(service, service.key)
    page = await service.client.get(f"{service.url}/?from=2026-01-01&to={day}&tz={tz}")
    assert f'name="to" min="1970-01-01" max="9999-12-31" value="{day}"' in page.text
    assert 'class="trouble" role="alert">' not in page.text
    assert '<p class="figure">300</p>' in page.text


@pytest.mark.parametrize("day", ["20266-01-01", "1969-12-31", "yesterday", "<b>"])
async def test_a_date_that_is_left_out_is_told(service: Service, day: str) -> None:
    """A date that means nothing is named, instead of being passed over."""
    await log_in(service, service.key)
    page = await service.client.get(f"{service.url}/", params={"from": day})
    told = f"“{html.escape(day)}” is no date from 1970-01-01 to 9999-12-31: it was left out."
    assert told in page.text


async def test_headings_agree_with_their_figures(service: Service) -> None:
    """What is headed “Placed” is the metric of that name, in the tables and in the chart."""
    await log_in(service, service.key)
    page = (await service.client.get(f"{service.url}/?period=all")).text
    campaigns = page.partition('data-live="split-campaign"')[2].partition("</section>")[0]
    headings = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)<", campaigns)
    assert headings[:2] == ["Campaign", "Placed"]
    asked = await service.get("/breakdown?by=campaign&metrics=placed")
    shown = re.findall(r'">([^<]+)</a></th><td class="n">([\d,]+)</td>', campaigns)
    assert {name: int(number) for name, number in shown} == dict(asked.json()["rows"])
    assert "Placed attempts over time" in page
    assert "Attempts<" not in page


async def test_an_empty_warehouse_says_what_to_do(outdial_home: Path) -> None:
    """Before the first call the page explains how to place one."""
    async with running(outdial_home, calls=0) as service:
        await log_in(service, service.key)
        page = await service.client.get(f"{service.url}/")
        assert "No calls yet" in page.text
        assert "outdial import" in page.text


async def test_a_warehouse_that_is_away_is_a_page_too(service: Service) -> None:
    """503 as HTML, which tries again by itself."""
    await log_in(service, service.key)
    await service.warehouse.query("ALTER TABLE calls RENAME TO hidden")
    page = await service.client.get(f"{service.url}/")
    assert page.status_code == 503
    assert "does not answer" in page.text
    assert 'http-equiv="refresh"' in page.text


async def test_assets_are_immutable_and_nothing_else_is_served(service: Service) -> None:
    """Names change with content, so they are cached for good; paths lead nowhere."""
    login = (await service.client.get(f"{service.url}/login")).text
    for path in re.findall(r"/static/[^\"]+", login):
        answer = await service.client.get(service.url + path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    for path in ("/static/none.css", "/static/..%2fpages.py", "/static/outdial.css"):
        assert (await service.client.get(service.url + path)).status_code == 404


async def test_what_never_rang_is_in_no_chart(outdial_home: Path) -> None:
    """Deferred and refused attempts are neither under way nor somebody's: only others count."""
    async with running(outdial_home, calls=0) as service:
        call = call_row(created_at=NOW, agent_id="agent_1", attempts=3)
        statuses = ("deferred", "refused", "claimed")
        attempts = [
            attempt_row(
                call_id=call["call_id"],
                number=number,
                status=status,
                agent_id="agent_1" if status == "claimed" else None,
                accepted_at=NOW,
                submitted_at=NOW,
            )
            for number, status in enumerate(statuses, 1)
        ]
        await service.warehouse.load([call], attempts, [], NOW)
        await log_in(service, service.key)
        page = (await service.client.get(f"{service.url}/?period=all")).text
        rows = re.findall(r"<td>Under way</td><td>(\d+)</td>", page)
        assert rows == ["1"]
        agents = page.partition('data-live="split-agent_id"')[2].partition("</section>")[0]
        assert "agent_1</a>" in agents
        assert ">none<" not in agents
        counts = (await service.get("/overview?metrics=attempts,open,deferred,refused")).json()
        assert list(counts["metrics"].values()) == [3, 1, 1, 1]
