"""The analytics API's OpenAPI document, the page made of it, and whether they are kept to."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.flow.threaded import threaded
from tests.flow.web_api_service import Service, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the whole module."""
    home = tmp_path_factory.mktemp("document")
    with threaded(lambda: running(home, calls=20)) as service:
        yield service


def test_no_question_breaks_the_service(served: Service) -> None:
    """Whatever is asked: no 5xx, no status, media type or body that the document leaves out."""
    document = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == 13
    seen: set[int] = set()
    key = served.key
    for operation in operations:

        @settings(
            max_examples=6,
            derandomize=True,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
        def ask(case: Any) -> None:
            answer = case.call_and_validate(
                headers={"Authorization": f"Bearer {key}"}, checks=CHECKS
            )
            seen.add(answer.status_code)

        ask()
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
