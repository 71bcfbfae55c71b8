"""An OpenAPI document turned into requests, and what its service answers to them."""

from collections.abc import Iterator
from typing import Any

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

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def examples(count: int) -> settings:
    """The same `count` examples at each run, however long they take."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def operations_of(url: str) -> Iterator[Any]:
    """Every operation of the service's document."""
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


def ask_everything(url: str, key: str, count: int) -> tuple[int, set[int]]:
    """Ask each operation `count` things it allows or forbids; how many there are, and the statuses.

    `AssertionError` for a 5xx, and for a status, a media type or a body the document leaves out.
    """
    seen: set[int] = set()
    operations = list(operations_of(url))
    for operation in operations:

        @examples(count)
        @given(operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
        def ask(case: Any) -> None:
            headers = {"Authorization": f"Bearer {key}"}
            seen.add(case.call_and_validate(headers=headers, checks=_CHECKS).status_code)

        ask()
    return len(operations), seen
