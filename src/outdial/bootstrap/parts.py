"""The adapters that a configuration asks for, each made when it is first wanted."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from outdial.config import SUBMIT_SHARE, Settings
from outdial.errors import ConfigurationError
from outdial.ports.parking import Parking
from outdial.ports.queue import Queue
from outdial.ports.sink import ActivitySink

if TYPE_CHECKING:
    from outdial.adapters.aws.event_bridge import EventBridgeSink
    from outdial.adapters.database import Ledger
    from outdial.adapters.database.audit import LedgerAudit
    from outdial.adapters.duckdb import DuckDBWarehouse
    from outdial.adapters.retell import RetellPlatform
    from outdial.adapters.snowflake import Address, SnowflakeWarehouse
    from outdial.adapters.sqlite_queue import QueueFile
    from outdial.analytics.loader import Loader
    from outdial.reconciler import Reconciler


class Parts:
    """One process' adapters. Imports are inside, since each role needs only some of them."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet; call `close` in the end."""
        self.settings = settings
        self._closing = AsyncExitStack()
        self._files: dict[Path, QueueFile] = {}

    @cached_property
    def ledger(self) -> "Ledger":
        """The operational database, as the stages' ports."""
        from outdial.adapters.database import DialingRules, Ledger, Limits  # noqa: PLC0415

        settings = self.settings
        rules = DialingRules(
            limits=Limits(settings.dial_rate, settings.max_concurrent_calls),
            lease_ms=int(settings.attempt_lease * 1000),
            submit_ms=int(settings.idempotency_window * SUBMIT_SHARE * 1000),
            default_from_number=settings.default_from_number,
            default_agent_id=settings.default_agent_id,
        )
        if settings.database.startswith("sqlite:"):
            self.make_home()
        ledger = Ledger.open(
            settings.database,
            rules,
            republish_ms=int(settings.republish_after * 1000),
            reconcile_ms=int(settings.reconcile_after * 1000),
        )
        self._closing.push_async_callback(ledger.close)
        return ledger

    @cached_property
    def audit(self) -> "LedgerAudit":
        """The operational database, to be judged."""
        from outdial.adapters.database.audit import LedgerAudit  # noqa: PLC0415

        return LedgerAudit(self.ledger.database, self.ledger.clock)

    @cached_property
    def call_queue(self) -> Queue:
        """Due calls."""
        return self._queue("calls", "OUTDIAL_CALL_QUEUE_URL", self.settings.call_queue_url)

    @cached_property
    def event_queue(self) -> Queue:
        """Provider events."""
        return self._queue("events", "OUTDIAL_EVENT_QUEUE_URL", self.settings.event_queue_url)

    @cached_property
    def parking(self) -> Parking:
        """Payloads too large for the queue."""
        url = self.settings.parked_url or ""
        if url.startswith("s3:"):
            return self._bucket(url)
        from outdial.adapters.folder_parking import FolderParking  # noqa: PLC0415

        if "://" in url:
            raise ConfigurationError(
                f"OUTDIAL_PARKED_URL {url}: write a folder's path, or s3://BUCKET/PREFIX"
            )
        return FolderParking(self.settings.parked)

    @cached_property
    def platform(self) -> "RetellPlatform":
        """Retell, or the simulator in its place."""
        from outdial.adapters.retell import RetellPlatform  # noqa: PLC0415

        key = self.settings.retell_api_key
        if key is None:
            raise ConfigurationError(
                "OUTDIAL_RETELL_API_KEY is not set; it is the key of your Retell workspace "
                "(or that of the simulator, with OUTDIAL_RETELL_BASE_URL its address)"
            )
        platform = RetellPlatform(
            key.get_secret_value(),
            self.settings.retell_base_url,
            max_connections=min(1000, self.settings.max_concurrent_calls + 20),
        )
        self._closing.push_async_callback(platform.close)
        return platform

    @cached_property
    def reconciler(self) -> "Reconciler":
        """What compares the ledger with Retell."""
        from outdial.reconciler import Reconciler, Rules  # noqa: PLC0415

        settings = self.settings
        rules = Rules(settings.reconcile_after, settings.analysis_after, settings.reconcile_rate)
        return Reconciler(self.ledger.reconciliation, self.platform, rules)

    @cached_property
    def sink(self) -> ActivitySink | None:
        """Where activity events go; None where they are only kept."""
        url = self.settings.activity_sink_url
        if url is None:
            return None
        if self.event_bridge is not None:
            return self.event_bridge
        from outdial.adapters.sinks.http import HttpSink  # noqa: PLC0415

        secret = self.settings.activity_sink_secret
        sink = HttpSink(url, secret.get_secret_value() if secret is not None else None)
        self._closing.push_async_callback(sink.close)
        return sink

    @cached_property
    def event_bridge(self) -> "EventBridgeSink | None":
        """The sink, where it is an EventBridge bus: `eventbridge://BUS`."""
        scheme, _, bus = (self.settings.activity_sink_url or "").partition("://")
        if scheme != "eventbridge":
            return None
        with _extra("OUTDIAL_ACTIVITY_SINK_URL"):
            from outdial.adapters.aws.event_bridge import EventBridgeSink  # noqa: PLC0415

        name, _, region = bus.partition("?region=")
        sink = EventBridgeSink(name, region or None)
        self._closing.push_async_callback(sink.close)
        return sink

    @cached_property
    def warehouse(self) -> "DuckDBWarehouse | SnowflakeWarehouse":
        """The warehouse: a DuckDB file, which belongs to one process, or Snowflake."""
        if self.warehouse_is_shared:
            return self.snowflake
        from outdial.adapters.duckdb import DuckDBWarehouse  # noqa: PLC0415

        path = _path_in(self.settings.warehouse, "duckdb")
        if path is None:
            scheme = urlsplit(self.settings.warehouse).scheme
            raise ConfigurationError(
                f"OUTDIAL_WAREHOUSE_URL starts with {scheme}://; use duckdb:///PATH "
                "or snowflake://…"
            )
        self.make_home()
        warehouse = DuckDBWarehouse(path)
        self._closing.push_async_callback(warehouse.close)
        return warehouse

    @cached_property
    def loader(self) -> "Loader":
        """What moves changed rows to the warehouse."""
        from outdial.analytics.loader import Loader, Pace  # noqa: PLC0415

        pace = Pace()
        if self.warehouse_is_shared:
            # A minute is what waking a warehouse costs at least.
            address = self._snowflake_address()
            rows, seconds = address.load_rows, address.load_seconds
            pace = Pace(batch=rows, interval=5.0, enough=rows, patience=seconds)
        return Loader(self.ledger.warehouse, self.warehouse, pace=pace)

    @property
    def warehouse_is_shared(self) -> bool:
        """Any process may use it: the loader runs in the relay then, and the web API only reads."""
        return self.settings.warehouse.startswith("snowflake:")

    @cached_property
    def snowflake(self) -> "SnowflakeWarehouse":
        """The warehouse in Snowflake, where the configuration names one."""
        address = self._snowflake_address()
        from outdial.adapters.snowflake import SnowflakeWarehouse  # noqa: PLC0415

        warehouse = SnowflakeWarehouse(address)
        self._closing.push_async_callback(warehouse.close)
        return warehouse

    def _snowflake_address(self) -> "Address":
        try:
            from outdial.adapters.snowflake import Address  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"OUTDIAL_WAREHOUSE_URL is Snowflake's, and the package {error.name} is not "
                "installed: pip install 'outdial[snowflake]'"
            ) from None
        return Address.of(self.settings.warehouse)

    def make_home(self) -> None:
        """The folder of the embedded parts."""
        try:
            self.settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"OUTDIAL_HOME {self.settings.home} can't be made: {error.strerror}; "
                "set it to another folder"
            ) from None

    async def close(self) -> None:
        """Release everything that was opened, last first."""
        await self._closing.aclose()

    def _bucket(self, url: str) -> Parking:
        from outdial.adapters.aws.addresses import bucket_address  # noqa: PLC0415

        address = bucket_address(url)
        if address is None:
            raise ConfigurationError(
                f"OUTDIAL_PARKED_URL {url} is not of the form s3://BUCKET/PREFIX"
            )
        with _extra("OUTDIAL_PARKED_URL"):
            from outdial.adapters.aws.parking import S3Parking  # noqa: PLC0415
        parking = S3Parking(address)
        self._closing.push_async_callback(parking.close)
        return parking

    def _sqs(self, name: str, variable: str, url: str) -> Queue:
        from outdial.adapters.aws.addresses import queue_address  # noqa: PLC0415

        address = queue_address(url)
        if address is None:
            raise ConfigurationError(
                f"{variable} {url} is not the URL of an SQS standard queue, "
                "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
            )
        with _extra(variable):
            from outdial.adapters.aws.queue import SqsQueue  # noqa: PLC0415
        queue = SqsQueue(address, name)
        self._closing.push_async_callback(queue.close)
        return queue

    def _queue(self, name: str, variable: str, url: str | None) -> Queue:
        if url is not None and url.startswith(("https:", "http:")):
            return self._sqs(name, variable, url)
        from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue  # noqa: PLC0415

        if url is None:
            self.make_home()
            path = self.settings.home / "queue.db"
        else:
            path, name = _embedded(variable, url)
        if path not in self._files:
            # One file object a process: only so does a send wake a receive at once.
            self._files[path] = QueueFile(path)
            self._closing.callback(self._files[path].close)
        queue = SQLiteQueue(self._files[path], name)
        self._closing.push_async_callback(queue.close)
        return queue


@contextmanager
def _extra(variable: str) -> Iterator[None]:
    """Say what to install where the client of AWS is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{variable} needs {error.name}, which is not installed: pip install 'outdial[aws]'"
        ) from None


def _embedded(variable: str, url: str) -> tuple[Path, str]:
    path = _path_in(url, "sqlite")
    names = parse_qs(urlsplit(url).query).get("queue", [])
    if path is None or len(names) != 1:
        raise ConfigurationError(
            f"{variable} is neither an SQS queue's URL nor of the form "
            "sqlite:///PATH/queue.db?queue=NAME; unset it for the queue in OUTDIAL_HOME"
        )
    return path, names[0]


def _path_in(url: str, scheme: str) -> Path | None:
    split: Any = urlsplit(url)
    path = unquote(split.path[1:])
    if split.scheme != scheme or split.netloc or not path:
        return None
    return Path(path)
