"""Parts are made as the configuration asks, and what it can't mean is said in one line."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from outdial.bootstrap import open_ledger, open_parts, open_queue, open_warehouse, upgrade_database
from outdial.bootstrap import stages as bootstrap_stages
from outdial.bootstrap.parts import Parts
from outdial.config import Settings, load
from outdial.errors import ConfigurationError
from outdial.ports.queue import Outgoing


def settings(**fields: Any) -> Settings:
    """As given, the rest by default."""
    return load(**fields)


@pytest.mark.parametrize(
    ("part", "fields", "variable"),
    [
        ("platform", {}, "OUTDIAL_RETELL_API_KEY"),
        ("parking", {"parked_url": "s3://Bucket"}, "OUTDIAL_PARKED_URL"),
        ("parking", {"parked_url": "gs://bucket"}, "OUTDIAL_PARKED_URL"),
        ("sink", {"activity_sink_url": "eventbridge://"}, "OUTDIAL_ACTIVITY_SINK_URL"),
        ("sink", {"activity_sink_url": "ftp://x"}, "OUTDIAL_ACTIVITY_SINK_URL"),
        ("warehouse", {"warehouse_url": "snowflake://u:p@a/d"}, "OUTDIAL_WAREHOUSE_URL"),
        ("warehouse", {"warehouse_url": "duckdb://"}, "OUTDIAL_WAREHOUSE_URL"),
        ("ledger", {"database_url": "mysql://localhost/x"}, "OUTDIAL_DATABASE_URL"),
        ("call_queue", {"call_queue_url": "sqlite:///q.db"}, "OUTDIAL_CALL_QUEUE_URL"),
        ("event_queue", {"event_queue_url": "https://sqs/x"}, "OUTDIAL_EVENT_QUEUE_URL"),
    ],
)
async def test_what_it_can_not_mean_names_the_variable(
    part: str, fields: dict[str, Any], variable: str
) -> None:
    """One line, which says which setting is wrong."""
    async with open_parts(settings(**fields)) as parts:
        with pytest.raises(ConfigurationError, match=variable) as raised:
            getattr(parts, part)
    assert "\n" not in str(raised.value)


async def test_a_home_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "file").write_text("")
    async with open_parts(settings(home=tmp_path / "file" / "home")) as parts:
        with pytest.raises(ConfigurationError, match=r"OUTDIAL_HOME .*can't be made"):
            _ = parts.ledger


def test_nothing_is_made_before_it_is_wanted(outdial_home: Path) -> None:
    """A command that needs no part leaves no folder behind."""

    async def open_and_close() -> None:
        async with open_parts(settings()):
            pass

    asyncio.run(open_and_close())
    assert not outdial_home.exists()


async def test_both_queues_share_a_file(tmp_path: Path) -> None:
    """Their messages do not mix; a URL chooses file and name."""
    url = f"sqlite:///{tmp_path}/q%20.db?queue=mine"
    fields = settings(call_queue_url=url, home=tmp_path)
    async with open_parts(fields) as parts, open_queue(fields, "calls") as again:
        await parts.call_queue.send([Outgoing("x")])
        assert parts.call_queue.name == "mine"
        assert (await again.depth()).visible == 1
        assert (await parts.event_queue.depth()).visible == 0
    assert (tmp_path / "q .db").exists()
    async with open_queue(fields, "events") as events:
        assert events.name == "events"


async def test_parts_that_reach_outside_are_made_from_settings(tmp_path: Path) -> None:
    """Retell's client, a sink with a secret or without one, the folder of parked payloads."""
    fields = settings(
        retell_api_key=SecretStr("key"),
        retell_base_url="http://127.0.0.1:1",
        activity_sink_url="https://127.0.0.1:1/events",
        parked_url=str(tmp_path / "parked"),
    )
    async with open_parts(fields) as parts:
        assert parts.platform is parts.platform
        assert parts.sink is not None
        await parts.parking.put("a", b"b")
        assert parts.loader is not None
    async with open_parts(fields) as parts:
        assert await parts.parking.get("a") == b"b"
    secret = fields.model_copy(update={"activity_sink_secret": SecretStr("s")})
    async with open_parts(secret) as parts:
        assert parts.sink is not None
    async with open_parts(settings()) as parts:
        assert parts.sink is None


async def test_queues_and_parking_on_aws() -> None:
    """By their URLs; nothing is asked before it is used."""
    fields = settings(
        call_queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/calls",
        event_queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/our-events",
        parked_url="s3://bucket/prefix",
    )
    async with open_parts(fields) as parts:
        assert (parts.call_queue.name, parts.event_queue.name) == ("calls", "events")
        assert type(parts.parking).__name__ == "S3Parking"


async def test_without_the_client_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "outdial.adapters.aws.queue", None)
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/calls"
    async with open_parts(settings(call_queue_url=url)) as parts:
        with pytest.raises(ConfigurationError, match=r"OUTDIAL_CALL_QUEUE_URL .*outdial\[aws\]"):
            _ = parts.call_queue


async def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    """The line says what to run; afterwards it opens, and a second upgrade has nothing to do."""
    fields = settings(home=tmp_path / "home")
    with pytest.raises(ConfigurationError, match="outdial db upgrade"):
        async with open_ledger(fields):
            pass
    assert await upgrade_database(fields) == ["0001"]
    assert await upgrade_database(fields) == []
    async with open_ledger(fields) as ledger:
        assert await ledger.intake.pauses() == []


async def test_the_warehouse_opens_alone(tmp_path: Path) -> None:
    """For commands that work on its file while nothing else runs."""
    async with open_warehouse(settings(home=tmp_path / "home")) as warehouse:
        await warehouse.upgrade()


async def test_the_webhook_entry_needs_a_key() -> None:
    """Without one nothing could be verified."""
    async with open_parts(settings()) as parts:
        with pytest.raises(ConfigurationError, match="OUTDIAL_RETELL_WEBHOOK_KEY"):
            bootstrap_stages.webhook(parts, "127.0.0.1", {})


@pytest.mark.parametrize("stage", bootstrap_stages.STAGES)
async def test_every_stage_can_be_built(stage: str, tmp_path: Path) -> None:
    """Alone, from a whole configuration; its workers stop before they have begun."""
    fields = settings(retell_api_key=SecretStr("key"), home=tmp_path / "home")
    parts = Parts(fields)
    built = bootstrap_stages.build(stage, parts, "127.0.0.1")
    assert built.app is not None
    for worker in built.workers:
        await worker.stop()
    await parts.close()


async def test_with_snowflake_the_relay_loads_and_the_web_api_reads(tmp_path: Path) -> None:
    """Any number of web APIs may run then; nothing is asked of Snowflake to build them."""
    url = "snowflake://u:p@account/DB/S?warehouse=W&load_rows=500&load_seconds=300"
    parts = Parts(settings(warehouse_url=url, home=tmp_path / "home"))
    web_api = bootstrap_stages.build("web-api", parts, "127.0.0.1")
    assert web_api.workers == ()
    relay = bootstrap_stages.build("relay", parts, "127.0.0.1").workers[0]
    assert "loader" in relay.checks
    await relay.stop()
    await asyncio.wait_for(asyncio.ensure_future(relay.run()), 30)
    await parts.close()
