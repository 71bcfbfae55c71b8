"""What the HTTP services share: sockets, keys, health, problems, the docs page, logs."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import pytest
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outdial.errors import ConfigurationError, Unavailable
from outdial.http_common.auth import (
    REMEMBER_SECONDS,
    UNKNOWN_SECONDS,
    KeyAuthentication,
    OpenAuthentication,
    authentication,
    is_loopback,
    issue_key,
)
from outdial.http_common.listening import listen, url_of
from outdial.http_common.operations import operations_app
from outdial.http_common.problems import (
    MOST_FAULTS,
    Fault,
    Problem,
    ProblemError,
    install,
    invalid,
    pointer_to,
)
from outdial.http_common.serving import serving
from outdial.ports.keys import KeyRecord, Scope
from outdial.telemetry import LOOP_LAG, set_up_logging, watching_loop


@dataclass
class Keys:
    """API keys in memory; counts the queries."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    queries: int = 0

    async def create(
        self, key_id: str, secret_sha256: str, tenant: str, scopes: Sequence[Scope]
    ) -> KeyRecord:
        """Keep it."""
        record = KeyRecord(key_id, tenant, frozenset(scopes), 0, None)
        self.records[secret_sha256] = record
        return record

    async def find(self, secret_sha256: str) -> KeyRecord | None:
        """Count the query."""
        self.queries += 1
        return self.records.get(secret_sha256)

    async def all(self) -> list[KeyRecord]:
        """As they were made."""
        return list(self.records.values())

    async def revoke(self, key_id: str) -> bool:
        """Mark it."""
        for hashed, record in self.records.items():
            if record.id == key_id:
                self.records[hashed] = KeyRecord(key_id, record.tenant, record.scopes, 0, 1)
                return True
        return False


def asked(**headers: str) -> Request:
    """A request with these headers."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


async def status_of(check: KeyAuthentication | OpenAuthentication, request: Request) -> int:
    """200, or the status of the refusal."""
    try:
        await check.caller(request, Scope.CALLS_READ)
    except ProblemError as error:
        return error.problem.status
    return 200


async def test_a_key_is_remembered_and_its_revocation_takes_effect() -> None:
    """One query for many requests; a few seconds after its revocation the key opens nothing."""
    keys, now = Keys(), 0.0
    issued = await issue_key(keys, "acme", [Scope.CALLS_READ])
    check = KeyAuthentication(keys, lambda: now)
    request = asked(authorization=f"bearer {issued.secret}")
    caller = await check.caller(request, Scope.CALLS_READ)
    assert (caller.tenant, await status_of(check, request), keys.queries) == ("acme", 200, 1)
    await keys.revoke(issued.record.id)
    now += REMEMBER_SECONDS
    assert (await status_of(check, request), keys.queries) == (401, 2)


async def test_an_unknown_key_is_remembered_for_less() -> None:
    """Guessing costs no query a guess, and a key made meanwhile soon works."""
    keys, now = Keys(), 0.0
    check = KeyAuthentication(keys, lambda: now)
    assert [await status_of(check, asked(authorization="Bearer x")) for _ in range(5)] == [401] * 5
    assert keys.queries == 1
    now += UNKNOWN_SECONDS
    await status_of(check, asked(authorization="Bearer x"))
    assert keys.queries == 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of made-up keys fills no memory."""
    monkeypatch.setattr("outdial.http_common.auth._MOST_REMEMBERED", 10)
    check = KeyAuthentication(Keys())
    for n in range(100):
        await status_of(check, asked(authorization=f"Bearer {n}"))
    assert len(check._remembered) <= 10


@pytest.mark.parametrize("tenant", ["", "a b", "a\x1fb", "-", "x" * 65])
async def test_a_tenant_is_a_plain_name(tenant: str) -> None:
    """A key for anything else is refused with one line."""
    with pytest.raises(ConfigurationError, match="tenant"):
        await issue_key(Keys(), tenant, [Scope.ADMIN])


async def test_without_keys_only_this_machine_may_ask() -> None:
    """Requests of a page from elsewhere carry its origin or its name, and are refused."""
    check = OpenAuthentication()
    caller = await check.caller(asked(host="127.0.0.1:8001"), Scope.ADMIN)
    assert caller.tenant == "default"
    assert caller.may(Scope.CALLS_WRITE)
    local = {"host": "localhost:8001"}
    assert await status_of(check, asked(**local, origin="http://[::1]:8003")) == 200
    assert await status_of(check, asked(**local, origin="https://evil.example")) == 403
    assert await status_of(check, asked(**local, origin="null")) == 403
    assert await status_of(check, asked(**local, origin="http://[")) == 403
    assert await status_of(check, asked(host="evil.example:8001")) == 403


def test_no_keys_is_refused_beyond_loopback() -> None:
    """`none` needs a loopback address; `keys` takes any."""
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
        assert isinstance(authentication("none", host, Keys()), OpenAuthentication)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104
        with pytest.raises(ConfigurationError, match="127\\.0\\.0\\.1"):
            authentication("none", host, Keys())
        assert isinstance(authentication("keys", host, Keys()), KeyAuthentication)


def test_a_port_in_use_says_what_to_do() -> None:
    """One line that names the port and the option."""
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            listen("127.0.0.1", port)
        assert str(caught.value) == f"port {port} is in use; choose another with --port"


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 65_536, "65535"),
        ("127.0.0.1", -1, "--port"),
        ("203.0.113.7", 0, "--host"),
        ("no such host", 0, "cannot listen"),
        ("a" * 70, 0, "cannot listen"),
    ],
)
def test_an_impossible_address_is_one_line(host: str, port: int, words: str) -> None:
    """Whatever is wrong with it, a person reads what."""
    with pytest.raises(ConfigurationError, match=words):
        listen(host, port)


def test_urls_lead_to_this_machine() -> None:
    """A socket on all addresses is reached at loopback."""
    with listen("0.0.0.0", 0) as sock:  # noqa: S104
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


async def fine() -> None:
    """A check that passes."""


async def down() -> None:
    """A check of a dependency that is away."""
    raise Unavailable("database", "connection refused")


async def broken() -> None:
    """A check that fails with a stranger's words."""
    raise ValueError("password=hunter2")


async def stuck() -> None:
    """A check that does not end."""
    await asyncio.Event().wait()


async def test_readiness_says_which_check_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with our own words for our own errors, a name for others, a limit of time for all."""
    monkeypatch.setattr("outdial.http_common.operations.CHECK_SECONDS", 0.05)
    checks = {"a": fine, "database": down, "odd": broken, "late": stuck}
    async with (
        serving(operations_app(checks), listen("127.0.0.1", 0)) as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 503
            body = await response.json()
        assert body == {
            "ready": False,
            "checks": {
                "a": "ok",
                "database": "database unavailable: connection refused",
                "odd": "ValueError",
                "late": "no answer in 0.05 s",
            },
        }
        async with session.get(f"{url}/healthz") as response:
            assert response.status == 200
        async with session.get(f"{url}/metrics") as response:
            assert "outdial_calls_accepted_total" in await response.text()


async def test_readiness_passes_notes_on() -> None:
    """What a check returns as text is for a person; the stage is ready all the same."""

    async def noted() -> str:
        return "3 doubts"

    async with (
        serving(operations_app({"a": fine, "b": noted}), listen("127.0.0.1", 0)) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/readyz") as response,
    ):
        assert response.status == 200
        assert await response.json() == {
            "ready": True,
            "checks": {"a": "ok", "b": "ok"},
            "notes": {"b": "3 doubts"},
        }


async def test_several_servers_share_a_loop() -> None:
    """Each is ready when without checks, and each stops by itself."""
    app = operations_app({})
    async with (
        aiohttp.ClientSession() as session,
        serving(app, listen("127.0.0.1", 0)) as first,
    ):
        async with serving(app, listen("127.0.0.1", 0)) as second:
            for url in (first, second):
                async with session.get(f"{url}/readyz") as response:
                    assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(second)
        async with session.get(f"{first}/readyz") as response:
            assert response.status == 200


async def test_a_request_under_way_is_finished_on_stopping() -> None:
    """Stopping waits for the answer, and then ends the application's lifespan."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        begun.set()
        await go.wait()
        return Response("done")

    app = Starlette(routes=[Route("/", slow)])
    async with aiohttp.ClientSession() as session:
        async with serving(app, listen("127.0.0.1", 0)) as url:
            request = asyncio.create_task(session.get(url))
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, go.set)
        async with await request as response:
            assert await response.text() == "done"


@pytest.fixture
async def broken_url(caplog: pytest.LogCaptureFixture) -> AsyncIterator[str]:
    """A service each of whose routes fails in its own way."""

    def failing(make: Callable[[], Exception]) -> Callable[[Request], object]:
        async def fail(_: Request) -> Response:
            raise make()

        return fail

    errors: dict[str, Callable[[], Exception]] = {
        "/bug": lambda: RuntimeError("password=hunter2"),
        "/away": lambda: Unavailable("database", "password=hunter2"),
        "/teapot": lambda: HTTPException(418, "short and stout"),
        "/odd": lambda: HTTPException(599, "odd"),
    }
    app = Starlette(routes=[Route(path, failing(make)) for path, make in errors.items()])
    install(app)
    async with serving(app, listen("127.0.0.1", 0)) as url:
        yield url


async def test_failures_say_nothing_of_their_cause(broken_url: str) -> None:
    """500 and 503 as problems, without the words of the error."""
    async with aiohttp.ClientSession() as session:
        for path, status in (("/bug", 500), ("/away", 503), ("/teapot", 418), ("/odd", 599)):
            async with session.get(broken_url + path) as response:
                assert response.status == status
                assert response.content_type == "application/problem+json"
                text = await response.text()
                assert "hunter2" not in text
                assert json.loads(text)["status"] == status


def test_faults_are_many_at_most() -> None:
    """An answer does not outgrow its request: faults are counted beyond some."""
    problem = invalid(Fault("#/x", "wrong") for _ in range(5000))
    assert len(problem.errors) == MOST_FAULTS
    assert problem.detail.startswith("5000 faults")


def test_pointers_are_escaped() -> None:
    """RFC 6901: `~` and `/` in names are written `~0` and `~1`."""
    assert pointer_to(["metadata", "a/b~c", 0]) == "#/metadata/a~1b~0c/0"
    assert pointer_to([]) == "#"
    assert len(pointer_to(["x" * 10_000])) < 300


def test_a_problem_without_a_known_kind_names_its_status() -> None:
    """The type is stable for every status."""
    assert Problem(418, "tea").body()["type"] == "urn:outdial:problem:http-418"


@pytest.fixture
def _own_logging() -> object:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_logging")
def test_logs_name_no_people() -> None:
    """JSON lines, from structlog and from `logging`; fields about people are dropped."""
    stream = io.StringIO()
    set_up_logging("info", stream)
    log = structlog.get_logger("outdial.test")
    log.info("placed", call_id="c1", to_number="+14155550123", metadata={"name": "Ada"})
    log.debug("hidden")
    logging.getLogger("some.library").warning("careful %s", 1)
    logging.getLogger("some.library").info("hidden")
    try:
        int("told")
    except ValueError:
        log.exception("failed")
    placed, careful, failed = (json.loads(line) for line in stream.getvalue().splitlines())
    assert placed["call_id"] == "c1"
    assert not {"to_number", "metadata"} & placed.keys()
    assert (careful["event"], careful["level"]) == ("careful 1", "warning")
    assert "ValueError" in failed["exception"]


@pytest.mark.usefixtures("_own_logging")
def test_a_terminal_gets_text() -> None:
    """Where a person watches, lines are for people."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    set_up_logging("debug", stream)
    structlog.get_logger("outdial.test").debug("placed", call_id="c1")
    assert "placed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


async def test_the_loops_lag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is watched, the gauge is set."""
    monkeypatch.setattr("outdial.telemetry._LAG_SECONDS", 0.0)
    LOOP_LAG.set(-1)
    async with watching_loop(), asyncio.timeout(5):
        while LOOP_LAG._value.get() < 0:  # noqa: ASYNC110 - the gauge tells nobody
            await asyncio.sleep(0)
