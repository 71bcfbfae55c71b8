"""The OpenAPI document, the page made of it, and whether the service keeps to both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.flow.documented import ask_everything, examples, operations_of
from tests.flow.threaded import threaded
from tests.flow.voice_api import VoiceApi, voice_api

#: What no schema can say, and is refused with a 422 all the same.
BEYOND_SCHEMA = (
    "must be a time zone of the IANA database",
    "is none of ours",
    "must not hold U+0000",  # anywhere in metadata
    "must not be nested",
    "keys that start with outdial_",
    "must lie in the future",
    "must lie after not_before",
    "was used with another body",  # a key that another example has used
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[VoiceApi]:
    """One service for the whole module."""
    path = tmp_path_factory.mktemp("document") / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    with threaded(lambda: voice_api(f"sqlite:///{path}")) as api:
        yield api


def test_no_request_breaks_the_service(served: VoiceApi) -> None:
    """Whatever is sent: no 5xx, no status, media type or body that the document leaves out."""
    operations, seen = ask_everything(served.url, served.secret, 15)
    assert operations == 10
    # It got past the door, both ways.
    assert {200, 202, 404, 422} <= seen


def test_what_the_document_allows_is_accepted(served: VoiceApi) -> None:
    """Of what the schema allows only that is refused which no schema can forbid."""
    accepted = 0
    for operation in operations_of(served.url):

        @examples(12)
        @given(operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal accepted
            answer = case.call(headers={"Authorization": f"Bearer {served.secret}"})
            assert answer.status_code in {200, 202, 404, 422}
            if answer.status_code == 422:
                for fault in answer.json()["errors"]:
                    assert fault["detail"].startswith(BEYOND_SCHEMA), (fault, case.body, case.query)
            accepted += answer.status_code in {200, 202}

        ask()
    assert accepted > 50


async def test_every_route_asks_for_a_key(ledger_url: str) -> None:
    """Each operation of the document is a 401 without a key, and says so."""
    async with voice_api(ledger_url) as api:
        described = (await api.ask("GET", "/openapi.json")).json
        asked = 0
        for route, operations in described["paths"].items():
            for method, operation in operations.items():
                assert {"401", "403", "500", "503"} <= operation["responses"].keys()
                where = api.url + route.replace("{call_id}", "x")
                async with api.session.request(method, where) as response:
                    assert response.status == 401, (method, route)
                asked += 1
        assert asked == 10


async def test_the_document_names_every_limit(ledger_url: str) -> None:
    """References lead somewhere, and requests are described with unknown fields refused."""
    async with voice_api(ledger_url) as api:
        answer = await api.ask("GET", "/openapi.json")
        schemas = answer.json["components"]["schemas"]
        for reference in answer.text.split('"#/components/schemas/')[1:]:
            assert reference.partition('"')[0] in schemas
        assert schemas["CallRequest"]["additionalProperties"] is False
        assert schemas["CallRequest"]["required"] == ["to_number"]
        page = await api.ask("GET", "/docs")
        assert page.headers["Content-Type"].startswith("text/html")
        for word in ("/v1/calls/batch", "Idempotency-Key", "CallRequest", "time_zone"):
            assert word in page.text
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
