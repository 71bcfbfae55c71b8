"""Sessions with Snowflake, kept for the next use, since signing in takes a second.

Used from threads. A session costs nothing while it is idle: only statements wake the warehouse.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import snowflake.connector
from snowflake.connector import SnowflakeConnection
from snowflake.connector.errors import Error, ProgrammingError

from outdial.adapters.snowflake.address import Address
from outdial.errors import ConfigurationError, Unavailable

T = TypeVar("T")

#: A session that was idle for longer may be gone; a new one is surer than a try.
_IDLE_SECONDS = 3_000.0
_SIGN_IN_SECONDS = 30
#: What Snowflake says of a session, or of its token, that is over.
_GONE = frozenset(
    {390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195}  # its `GS codes`
)
#: Codes that a person has to act on, and what to do.
_REMEDIES = {
    3001: "grant it to the role (docs/snowflake.md has the statements)",
    90073: "no such warehouse, or the role may not use it: mend warehouse= or grant USAGE",
    90105: "no such database, or the role may not use it: mend the URL or grant USAGE",
    90106: "no such schema, or the role may not use it: mend the URL or grant USAGE",
    2003: "it is not there, or the role may not use it: mend the URL or grant it",
    2043: "it is not there, or the role may not use it: mend the URL or grant it",
    606: "no warehouse: name one with ?warehouse=W and grant USAGE on it",
    390100: "user or password is wrong",
    390144: "the key pair is not the user's: ALTER USER … SET RSA_PUBLIC_KEY",
    390189: "the role is not granted to the user: mend role=",
    390201: "database, schema or warehouse of the URL is not there, or the role may not use it",
    390422: "a network policy keeps this address out",
}


class Work(Enum):
    """What a session is for: its query tag, and seconds until Snowflake gives a statement up."""

    LOAD = ("load", 600)
    QUERY = ("query", 60)

    @property
    def seconds(self) -> int:
        """Of one statement."""
        return self.value[1]

    @property
    def parameters(self) -> dict[str, object]:
        """Of a session for it. `QUERY_HISTORY` and the bill show the tag."""
        return {
            "QUERY_TAG": f"outdial-{self.value[0]}",
            "STATEMENT_TIMEOUT_IN_SECONDS": self.seconds,
            # The account's own defaults must not change what the questions mean.
            "TIMEZONE": "UTC",
            "WEEK_START": 1,
            "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
            "ABORT_DETACHED_QUERY": True,
        }


@dataclass(slots=True)
class _Idle:
    connection: SnowflakeConnection
    since: float


class Sessions:
    """A pool without a limit of its own: as many as there are threads that use it at once."""

    def __init__(
        self,
        address: Address,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`monotonic`: seconds."""
        self._address = address
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._idle: dict[Work, list[_Idle]] = {work: [] for work in Work}

    def use(self, work: Work, run: Callable[[SnowflakeConnection], T]) -> T:
        """`run` in a session of this kind. Raises `ConfigurationError` or `Unavailable`.

        Where a kept session turns out to be over, `run` is called again in a new one, so it must
        bear being repeated.
        """
        kept = self._take(work)
        if kept is not None:
            try:
                return self._run(work, kept, run)
            except Error as error:
                if _code(error) not in _GONE:
                    raise _translated(error) from None
        try:
            return self._run(work, self.open(work), run)
        except Error as error:
            raise _translated(error) from None

    def open(self, work: Work) -> SnowflakeConnection:
        """A new session, not of the pool. Raises the driver's errors."""
        host: Mapping[str, Any] = {"host": self._address.host} if self._address.host else {}
        return snowflake.connector.connect(
            user=self._address.user,
            account=self._address.account,
            database=self._address.database,
            schema=self._address.schema,
            warehouse=self._address.warehouse,
            role=self._address.role,
            application="Outdial",
            paramstyle="qmark",
            autocommit=True,
            login_timeout=_SIGN_IN_SECONDS,
            # Nothing of ours runs on after its session.
            enable_server_session_keep_alive_auto_detection=False,
            session_parameters=work.parameters,
            **host,
            **self._address.secrets,
        )

    def close(self) -> None:
        """End the idle ones."""
        with self._lock:
            idle = [each.connection for kept in self._idle.values() for each in kept]
            for kept in self._idle.values():
                kept.clear()
        for connection in idle:
            _end(connection)

    def _run(
        self, work: Work, connection: SnowflakeConnection, run: Callable[[SnowflakeConnection], T]
    ) -> T:
        try:
            result = run(connection)
        except ProgrammingError as error:
            # A question that is wrong says nothing against the session. A load that failed has a
            # transaction and tables left, which go with it.
            if work is Work.QUERY and _code(error) not in _GONE:
                self._give_back(work, connection)
            else:
                _end(connection)
            raise
        except BaseException:
            _end(connection)
            raise
        self._give_back(work, connection)
        return result

    def _take(self, work: Work) -> SnowflakeConnection | None:
        with self._lock:
            kept = self._idle[work]
            oldest = self._monotonic() - _IDLE_SECONDS
            over = [each for each in kept if each.since < oldest]
            kept[:] = [each for each in kept if each.since >= oldest]
            taken = kept.pop() if kept else None
        for each in over:
            _end(each.connection)
        return None if taken is None else taken.connection

    def _give_back(self, work: Work, connection: SnowflakeConnection) -> None:
        with self._lock:
            self._idle[work].append(_Idle(connection, self._monotonic()))


class SingleSession:
    """One session for everything, which ends with the first `close`."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        """It is this one's from here on."""
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def of(cls, address: Address) -> "SingleSession":
        """A new one. Raises the driver's errors."""
        return cls(Sessions(address).open(Work.LOAD))

    def use(self, _work: Work, run: Callable[[SnowflakeConnection], T]) -> T:
        """As `Sessions.use`, one at a time."""
        with self._lock:
            try:
                return run(self._connection)
            except Error as error:
                raise _translated(error) from None

    def close(self) -> None:
        """End it."""
        _end(self._connection)


def _end(connection: SnowflakeConnection) -> None:
    # One that can't be ended any more ends by itself after hours.
    with suppress(Error, OSError):
        connection.close()


def _code(error: Error) -> int:
    return int(error.errno or -1)


def _translated(error: Error) -> ConfigurationError | Unavailable:
    told = line(error)
    remedy = _REMEDIES.get(_code(error))
    if remedy is None:
        # Signing in fails under one code, with the reason's own in the text.
        remedy = next((each for code, each in _REMEDIES.items() if f"{code:06d}" in told), None)
    if remedy is not None:
        return ConfigurationError(f"the warehouse refuses: {told} → {remedy}")
    return Unavailable("warehouse", told)


def line(error: BaseException) -> str:
    """One line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
