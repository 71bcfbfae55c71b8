"""The analytics API's OpenAPI document, the page made of it, and whether they are kept to."""

from collections.abc import Iterator

import httpx
import pytest

from tests.flow.documented import ask_everything
from tests.flow.threaded import threaded
from tests.flow.web_api_service import Service, running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the whole module."""
    home = tmp_path_factory.mktemp("document")
    with threaded(lambda: running(home, calls=20)) as service:
        yield service


def test_no_question_breaks_the_service(served: Service) -> None:
    """Whatever is asked: no 5xx, no status, media type or body that the document leaves out."""
    operations, seen = ask_everything(served.url, served.key, 6)
    assert operations == 13
    # It got past the door, both ways.
    assert {200, 403, 404, 422} <= seen


def test_the_description_names_every_parameter_and_problem(served: Service) -> None:
    """`/openapi.json` describes what the endpoints take, and how they refuse."""
    asked = httpx.get(f"{served.url}/openapi.json").json()["paths"]["/v1/analytics/timeseries"][
        "get"
    ]
    named = {each["name"] for each in asked["parameters"]}
    assert {"from", "to", "tz", "campaign", "metrics", "interval", "format"} <= named
    assert {"200", "401", "403", "406", "422", "500", "503"} == asked["responses"].keys()
    assert "given twice" in asked["responses"]["422"]["description"]


def test_the_page_shows_the_document(served: Service) -> None:
    """`/docs` needs no key, no script and no network, as the Voice API's."""
    page = httpx.get(f"{served.url}/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    for word in ("Outdial analytics", "/v1/analytics/breakdown", "interval", "Problem"):
        assert word in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
