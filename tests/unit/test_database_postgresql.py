"""PostgreSQL as the ledger's database: lost connections, lost races, outages and faults."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError

from outdial.adapters.database import postgresql
from outdial.adapters.database.engine import Clock, Database, open_database
from outdial.adapters.database.recording import record_answers
from outdial.adapters.database.workspace import read_workspace
from outdial.core.submission import Suspended
from outdial.errors import Unavailable
from outdial.ports.dialing import Answer
from tests.ledger_world import RULES, open_world
from tests.postgres_server import PostgresServer


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """A database with one table of two rows."""
    database = open_database(postgres_url)
    await database.transact(_make)
    yield database
    await database.close()


def _make(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE rows (n int PRIMARY KEY, at int NOT NULL)"))
    connection.execute(text("INSERT INTO rows VALUES (1, 0), (2, 0)"))


def one(connection: Connection) -> int:
    """Whether it answers."""
    return int(connection.execute(text("SELECT 1")).scalar_one())


def raising(state: str, times: int) -> Callable[[Connection], int]:
    """Work that the server refuses with this SQLSTATE, so many times."""
    left = [times]

    def work(connection: Connection) -> int:
        connection.execute(text("UPDATE rows SET at = at + 1 WHERE n = 1"))
        if left[0] > 0:
            left[0] -= 1
            connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION SQLSTATE '{state}'; END $$"))
        return int(connection.execute(text("SELECT at FROM rows WHERE n = 1")).scalar_one())

    return work


async def test_connections_the_server_cut_are_made_anew(
    database: Database, postgres_url: str
) -> None:
    """A restart of the server is an outage for one try, then all goes on."""
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    other = open_database(postgres_url)
    await other.read(lambda connection: connection.execute(cut).close())
    await other.close()
    with pytest.raises(Unavailable):
        await database.read(one)
    assert await database.read(one) == 1
    assert await database.transact(one) == 1


async def test_a_connection_cut_within_a_transaction_undoes_it(database: Database) -> None:
    """It is an outage, and not tried again here: whether it was committed is not known."""
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("UPDATE rows SET at = 5"))
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable):
        await database.transact(work)
    assert len(tries) == 1
    assert await database.transact(raising("", 0)) == 1


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_lost_race_is_run_again(database: Database, state: str) -> None:
    """It was certainly undone, so nobody has to know."""
    assert await database.transact(raising(state, 2)) == 1


async def test_a_race_lost_again_and_again_is_an_outage(database: Database) -> None:
    """It will pass; whoever asked tries later, and nothing of it is written."""
    with pytest.raises(Unavailable):
        await database.transact(raising("40001", 100))
    assert await database.transact(raising("", 0)) == 1


async def test_two_that_wait_for_each_other_both_succeed(database: Database) -> None:
    """The server ends a deadlock by undoing one of them; it is run again."""

    def lock(first: int, second: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            add = text("UPDATE rows SET at = at + 1 WHERE n = :n")
            connection.execute(add, {"n": first})
            connection.execute(text("SELECT pg_sleep(0.1)"))
            connection.execute(add, {"n": second})

        return work

    await asyncio.gather(database.transact(lock(1, 2)), database.transact(lock(2, 1)))
    total = text("SELECT sum(at) FROM rows")
    assert await database.read(lambda connection: connection.execute(total).scalar_one()) == 4


async def test_a_suspension_and_a_claim_do_not_wait_for_each_other(postgres_url: str) -> None:
    """Both lock the workspace before any call: a deadlock would cost a second."""
    async with open_world(postgres_url) as world:
        claim = await world.claim(await world.accept())
        answer = Answer(
            claim.call_id, claim.attempt_id, claim.lease_token, Suspended(401, "no such key")
        )
        tries: list[str] = []

        def claiming(connection: Connection) -> None:
            tries.append("claiming")
            read_workspace(connection, Clock(), lock=True)
            connection.execute(text("SELECT pg_sleep(0.2)"))
            lock = text("SELECT id FROM calls WHERE id = :id FOR UPDATE")
            connection.execute(lock, {"id": claim.call_id})

        def recording(connection: Connection) -> None:
            tries.append("recording")
            connection.execute(text("SELECT pg_sleep(0.1)"))
            record_answers(connection, Clock(), RULES.look_ups, [answer])

        database = world.ledger.database
        await asyncio.gather(database.transact(claiming), database.transact(recording))
        assert sorted(tries) == ["claiming", "recording"]
        assert (await world.call(claim.call_id)).status == "queued"


async def test_a_fault_of_ours_is_no_outage(database: Database) -> None:
    """A wrong statement or a broken rule stays what it is."""
    with pytest.raises(ProgrammingError):
        await database.transact(lambda connection: connection.execute(text("SELECT nothing")))
    with pytest.raises(IntegrityError):
        await database.transact(
            lambda connection: connection.execute(text("INSERT INTO rows VALUES (1, 1)"))
        )
    assert await database.transact(one) == 1


async def test_a_statement_that_does_not_end_is_an_outage(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, and the connection is of use afterwards."""
    monkeypatch.setattr(postgresql, "_STATEMENT_SECONDS", 0.1)
    database = open_database(postgres_url, pool_size=1)
    with pytest.raises(Unavailable):
        await database.transact(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
    assert await database.transact(one) == 1
    await database.close()


async def test_no_free_connection_is_an_outage(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the pool empty for too long is told so."""
    monkeypatch.setattr(postgresql, "_CONNECT_SECONDS", 0.2)
    database = open_database(postgres_url, pool_size=1)
    await database.read(one)
    slow = asyncio.create_task(
        database.read(lambda connection: connection.execute(text("SELECT pg_sleep(1)")).close())
    )
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await database.read(one)
    await slow
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:hunter2@127.0.0.1:1/outdial",
        "postgresql://postgres:hunter2@/outdial?host=/nowhere",
    ],
)
async def test_a_server_that_is_not_there_is_an_outage(url: str) -> None:
    """The text is one line and holds no password."""
    database = open_database(url)
    with pytest.raises(Unavailable) as raised:
        await database.transact(one)
    assert "hunter2" not in f"{raised.value} {database.url}"
    assert "\n" not in str(raised.value)
    await database.close()


async def test_a_database_that_is_not_there_is_an_outage(postgres_server: PostgresServer) -> None:
    """A person has to make it; until then everybody waits, and says why."""
    database = open_database(postgres_server.url("missing"))
    with pytest.raises(Unavailable, match='database "missing" does not exist'):
        await database.read(one)
    await database.close()


async def test_isolation_is_not_up_to_the_server(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """Writers see what was committed before their lock; readers see one moment."""
    name = make_url(postgres_url).database
    postgres_server.run(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"
    )
    database = open_database(postgres_url)

    def isolation(connection: Connection) -> str:
        return str(connection.execute(text("SHOW transaction_isolation")).scalar_one())

    for _ in range(2):
        assert await database.transact(isolation) == "read committed"
        assert await database.read(isolation) == "repeatable read"
    await database.close()


async def test_a_primary_that_became_a_standby_is_left(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """Its pooled connections still answer, and would only read for ever."""
    name = make_url(postgres_url).database
    setting = f'ALTER DATABASE "{name}" SET default_transaction_read_only'
    database = open_database(postgres_url)
    await database.transact(_make)
    await database.close()
    postgres_server.run(f"{setting} = on")
    assert await database.read(one) == 1
    postgres_server.run(f"{setting} = off")
    with pytest.raises(Unavailable, match="read-only"):
        await database.transact(raising("", 0))
    assert await database.transact(raising("", 0)) == 1
    await database.close()


async def test_whoever_waits_for_a_lock_too_long_gives_up(
    database: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an outage, so the work comes again; the statement's own limit is not used up."""
    monkeypatch.setattr(postgresql, "_LOCK_SECONDS", 0.1)
    other = open_database(postgres_url)
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        connection.execute(text("UPDATE rows SET at = 1 WHERE n = 1"))
        loop.call_soon(held.set)
        connection.execute(text("SELECT pg_sleep(1)"))

    holding = asyncio.create_task(database.transact(hold))
    await held.wait()
    with pytest.raises(Unavailable, match="lock timeout"):
        await other.transact(raising("", 0))
    await holding
    await other.close()


async def test_every_session_is_limited_by_the_server(database: Database) -> None:
    """What hangs on our side of the network holds no lock for ever; bulk work may take long."""

    def limits(connection: Connection) -> dict[str, str]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        return {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names}

    assert await database.transact(limits) == {
        "statement_timeout": "1min",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
    }
    assert (await database.transact(limits, bulk=True))["statement_timeout"] == "0"
