"""The first page in a real browser: drawn, fresh, within its policy, and usable on a phone."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.flow.web_api_service import NOW, Service, running
from tests.warehouse_rows import call_row

pytestmark = pytest.mark.browser

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Charts are drawn by a library that is made at the first use, by a child process.
_PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the system; no download."""
    path = os.environ.get("OUTDIAL_TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no browser: install chromium, or name one in OUTDIAL_TEST_CHROMIUM")
    return path


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser of the test's own."""
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield found
        await found.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart library's cache, which all tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def home(outdial_home: Path, library: Path) -> Path:
    """A home folder with that cache."""
    outdial_home.mkdir()
    outdial_home.joinpath("cache").symlink_to(library)
    return outdial_home


@pytest.fixture
async def service(home: Path) -> AsyncIterator[Service]:
    """300 calls over six days."""
    async with running(home) as found:
        yield found


class Visit:
    """A logged-in page, and everything the browser complained of."""

    def __init__(self, page: Page) -> None:
        """Listen."""
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("request", lambda request: self._ask(request.url))
        self.hosts: set[str] = set()

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def _ask(self, url: str) -> None:
        self.hosts.add(url.split("/")[2] if "//" in url else "")


async def visit(service: Service, browser: Browser, *, width: int = 1360) -> Visit:
    """Log in through the form, and see all calls."""
    page = await browser.new_page(
        viewport={"width": width, "height": 900}, timezone_id="Europe/Berlin"
    )
    page.set_default_timeout(_PATIENCE_MS)
    found = Visit(page)
    await page.goto(f"{service.url}/")
    await page.get_by_label("API key").fill(service.key)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="All time").click()
    await page.wait_for_selector(".chart canvas")
    return found


async def test_charts_are_drawn_within_the_policy(service: Service, browser: Browser) -> None:
    """Both charts appear; nothing violates the policy, fails, or comes from elsewhere."""
    found = await visit(service, browser)
    await expect(found.page.locator(".chart canvas")).to_have_count(2, timeout=_PATIENCE_MS)
    assert found.complaints == []
    assert found.hosts == {service.url.removeprefix("http://")}


async def test_a_new_call_shows_by_itself(service: Service, browser: Browser) -> None:
    """The page refreshes without being loaded again, and names the visitor's time zone."""
    found = await visit(service, browser)
    await service.warehouse.load([call_row(created_at=NOW + 5_000)], [], [], NOW + 10_000)
    calls = found.page.locator(".tile .figure").first
    await expect(calls).to_have_text("301", timeout=_PATIENCE_MS)
    await expect(found.page.locator(".fresh")).to_contain_text("Europe/Berlin")


async def test_trouble_is_shown_and_goes_away(service: Service, browser: Browser) -> None:
    """While the server fails the page says so, keeps its figures, and recovers."""
    found = await visit(service, browser)
    await service.warehouse.query("ALTER TABLE calls RENAME TO hidden")
    await expect(found.page.locator("#trouble")).to_be_visible(timeout=_PATIENCE_MS)
    await expect(found.page.locator(".tile .figure").first).to_have_text("300")
    await service.warehouse.query("ALTER TABLE hidden RENAME TO calls")
    await expect(found.page.locator("#trouble")).to_be_hidden(timeout=_PATIENCE_MS)


async def test_choosing_a_filter_is_a_link_to_share(service: Service, browser: Browser) -> None:
    """A choice goes to the URL at once, and narrows the figures."""
    found = await visit(service, browser)
    await found.page.get_by_label("Campaign").select_option("night-nurses")
    await found.page.wait_for_url("**campaign=night-nurses**")
    expected = sum(row["campaign"] == "night-nurses" for row in service.rows.calls)
    await expect(found.page.locator(".tile .figure").first).to_have_text(str(expected))


async def test_a_call_opens_as_a_conversation(service: Service, browser: Browser) -> None:
    """From the list to what was said, by its link."""
    found = await visit(service, browser)
    await found.page.get_by_label("Outcome").select_option("answered")
    await found.page.wait_for_url("**outcome=answered**")
    await found.page.locator(".calls a").first.click()
    await expect(found.page.get_by_role("heading", name="Conversation")).to_be_visible()
    await expect(found.page.locator(".talk li.user").first).to_be_visible()
    assert found.complaints == []


@pytest.mark.parametrize("width", [320, 390, 768, 1360])
async def test_no_screen_scrolls_sideways(service: Service, browser: Browser, width: int) -> None:
    """From a small phone to a desktop the page is as wide as the screen."""
    found = await visit(service, browser, width=width)
    assert await found.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 390])
async def test_on_a_phone_no_line_crosses_a_text(
    service: Service, browser: Browser, width: int
) -> None:
    """A tile's sparkline lies below its last text, however that wraps."""
    found = await visit(service, browser, width=width)
    gaps = await found.page.evaluate(
        """() => [...document.querySelectorAll(".tile")].filter((tile) => tile.querySelector("svg"))
          .map((tile) => tile.querySelector("svg").getBoundingClientRect().top
            - tile.querySelector(".note").getBoundingClientRect().bottom)"""
    )
    assert len(gaps) == 6
    assert min(gaps) >= 0


async def test_a_year_that_is_being_typed_is_waited_for(service: Service, browser: Browser) -> None:
    """A date out of range is marked and not asked for; one in range is."""
    found = await visit(service, browser)
    before = found.page.url
    field = found.page.get_by_label("From")
    await field.fill("0202-01-01")
    assert await found.page.locator("input:invalid").count() == 1
    assert found.page.url == before
    await field.fill("2026-01-01")
    await found.page.wait_for_url("**from=2026-01-01**")


async def test_without_scripts_the_numbers_are_there(service: Service, browser: Browser) -> None:
    """Tables stand in for the charts."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{service.url}/login")
    await page.get_by_label("API key").fill(service.key)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="All time").click()
    await expect(page.locator(".chart").first).to_be_hidden()
    await page.locator("summary").first.click()
    await expect(page.locator("details table").first).to_be_visible()
