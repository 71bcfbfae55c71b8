"""Sessions with Snowflake: kept, replaced, and what their errors come to."""

from collections.abc import Callable
from typing import Any

import pytest
import snowflake.connector
from snowflake.connector.errors import DatabaseError, Error, OperationalError, ProgrammingError

from outdial.adapters.snowflake import Address, SnowflakeWarehouse
from outdial.adapters.snowflake.sessions import Sessions, Work
from outdial.errors import ConfigurationError, Unavailable

ADDRESS = Address.of("snowflake://ada:p@acct/DB/S?warehouse=W&role=R&host=127.0.0.1")


class Session:
    """Stands for the connector's."""

    def __init__(self, **settings: Any) -> None:
        """Open."""
        self.settings = settings
        self.open = True

    def close(self) -> None:
        """Over."""
        self.open = False


class Account:
    """Opens sessions, and remembers them."""

    def __init__(self) -> None:
        """None yet; at noon."""
        self.opened: list[Session] = []
        self.now = 0.0

    def connect(self, **settings: Any) -> Session:
        """A new one."""
        self.opened.append(Session(**settings))
        return self.opened[-1]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """In place of the connector's `connect`, which can't be passed: the stand-in patches it too."""
    made = Account()
    monkeypatch.setattr(snowflake.connector, "connect", made.connect)
    return made


@pytest.fixture
def sessions(account: Account) -> Sessions:
    """Sessions with this account, by its clock."""
    return Sessions(ADDRESS, monotonic=lambda: account.now)


def failing(error: Error) -> Callable[[Any], None]:
    """What raises it when it is run."""

    def run(_: Any) -> None:
        raise error

    return run


def test_a_session_says_what_it_is_for(sessions: Sessions, account: Account) -> None:
    """Its tag is on the bill, and no default of the account changes what questions mean."""
    sessions.use(Work.LOAD, lambda _: None)
    settings = account.opened[0].settings
    assert settings["session_parameters"]["QUERY_TAG"] == "outdial-load"
    assert settings["session_parameters"]["TIMEZONE"] == "UTC"
    assert settings["host"] == "127.0.0.1"
    assert settings["password"] == "p"
    assert settings["paramstyle"] == "qmark"


def test_a_session_is_kept_for_the_next_of_its_kind(sessions: Sessions, account: Account) -> None:
    """Loads and questions have sessions of their own; all end with the pool."""
    for work in (Work.LOAD, Work.LOAD, Work.QUERY):
        sessions.use(work, lambda _: None)
    assert len(account.opened) == 2
    sessions.close()
    assert [each.open for each in account.opened] == [False, False]


def test_a_session_that_was_idle_for_long_is_replaced(sessions: Sessions, account: Account) -> None:
    """It may be over, and a new one is surer than a try."""
    sessions.use(Work.QUERY, lambda _: None)
    account.now = 3_001.0
    sessions.use(Work.QUERY, lambda _: None)
    assert [each.open for each in account.opened] == [False, True]


def test_a_session_that_is_over_is_replaced_at_once(sessions: Sessions, account: Account) -> None:
    """Whoever asks need not know."""
    sessions.use(Work.QUERY, lambda _: None)

    def run(session: Any) -> str:
        if session is account.opened[0]:
            raise OperationalError("Your session has expired", errno=390112)
        return "answer"

    assert sessions.use(Work.QUERY, run) == "answer"
    assert [each.open for each in account.opened] == [False, True]


def test_a_new_session_that_is_over_is_an_outage(sessions: Sessions, account: Account) -> None:
    """It is not tried for ever."""
    with pytest.raises(Unavailable):
        sessions.use(Work.QUERY, failing(OperationalError("expired", errno=390112)))
    assert len(account.opened) == 1


def test_a_wrong_question_does_not_end_its_session(sessions: Sessions, account: Account) -> None:
    """A failed load ends its own: its transaction goes with it."""
    wrong = ProgrammingError("syntax error\nline 1", errno=1003)
    for work, stays in ((Work.QUERY, True), (Work.LOAD, False)):
        for _ in range(2):
            with pytest.raises(Unavailable, match="syntax error line 1"):
                sessions.use(work, failing(wrong))
        assert account.opened[-1].open is stays
    assert len(account.opened) == 3


def test_a_broken_line_ends_its_session(sessions: Sessions, account: Account) -> None:
    """Also one that was kept; and the next use opens a new one."""
    sessions.use(Work.QUERY, lambda _: None)
    with pytest.raises(Unavailable, match="reset"):
        sessions.use(Work.QUERY, failing(OperationalError("connection reset", errno=250003)))
    assert not account.opened[0].open
    sessions.use(Work.QUERY, lambda _: None)
    assert len(account.opened) == 2


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (ProgrammingError("Insufficient privileges", errno=3001), "grant it to the role"),
        (ProgrammingError("Object 'X' does not exist", errno=2003), "it is not there"),
        (DatabaseError("250001: 390100 (08004): Incorrect username", errno=250001), "password"),
        (DatabaseError("390144 (08004): JWT token is invalid.", errno=250001), "RSA_PUBLIC_KEY"),
    ],
)
def test_what_a_person_has_to_mend_says_how(sessions: Sessions, error: Error, mend: str) -> None:
    """Rights, names and keys."""
    with pytest.raises(ConfigurationError, match=mend):
        sessions.use(Work.LOAD, failing(error))


async def test_the_connector_that_ships_takes_our_settings() -> None:
    """It gets as far as the network: nothing listens there. The one part of it tested as it is."""
    warehouse = SnowflakeWarehouse(ADDRESS)
    with pytest.raises(Unavailable, match="250001"):
        await warehouse.query("SELECT 1")
    await warehouse.close()
