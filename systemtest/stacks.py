"""What an installation runs on: everything embedded, or SQS, Lambda, S3 and PostgreSQL.

`SYSTEMTEST_STACK=aws` chooses for the whole of `systemtest/`; nothing in a test says so. A test
that starts the simulator itself asks its installation where webhooks go (`Installation.entry`);
one that needs a stack of its own choice, as the crash test does, hands it over:
`Installation(folder, receiver, stack=AwsStack())`. Both servers are started once a process and
end with it; queues, bucket, database and function are an installation's own.
"""

import atexit
import functools
import os
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from deploy.build_lambda import HANDLER, build
from systemtest.front import Front
from systemtest.parked import Parked, ParkedFiles, ParkedObjects
from tests.aws_emulator import emulator
from tests.postgres_server import PostgresServer, running_server

VARIABLE = "SYSTEMTEST_STACK"


class Stack(Protocol):
    """Parts that are not the program's own."""

    name: str
    #: Whether `up` may start the simulator itself, whose webhooks then come to `up`'s own route.
    simulator_within_up: bool

    def environment(self, until: ExitStack) -> dict[str, str]:
        """Make the parts of one installation; the variables that choose them."""
        ...

    def entry(self, environment: Mapping[str, str], own: str) -> str:
        """Where webhooks go: to `own`, the installation's route, or to what stands for it.

        Asked once the environment has the key that signs them, before the simulator starts.
        """
        ...

    def parked(self, environment: Mapping[str, str], home: Path) -> Parked:
        """The parked payloads of the installation with this environment and home."""
        ...


class EmbeddedStack:
    """A folder is all there is."""

    name = "embedded"
    simulator_within_up = True

    def environment(self, _until: ExitStack) -> dict[str, str]:
        """All defaults."""
        return {}

    def entry(self, _environment: Mapping[str, str], own: str) -> str:
        """The local route."""
        return own

    def parked(self, _environment: Mapping[str, str], home: Path) -> Parked:
        """Files in the home."""
        return ParkedFiles(home / "parked")


class AwsStack:
    """Queues on SQS, webhooks to the Lambda, payloads in S3, the ledger in PostgreSQL."""

    name = "aws"
    simulator_within_up = False

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._until = ExitStack()

    def environment(self, until: ExitStack) -> dict[str, str]:
        """Queues with dead-letter queues, a bucket and an empty database."""
        aws = emulator()
        self._until = until
        database = until.enter_context(_postgres().database(f"system_{uuid.uuid4().hex}"))
        return {
            **aws.environment,
            "OUTDIAL_CALL_QUEUE_URL": aws.queue("calls"),
            "OUTDIAL_EVENT_QUEUE_URL": aws.queue("events"),
            "OUTDIAL_PARKED_URL": f"s3://{aws.bucket()}/parked",
            "OUTDIAL_DATABASE_URL": database,
        }

    def entry(self, environment: Mapping[str, str], _own: str) -> str:
        """The function's URL; it is deployed with the installation's queue, bucket and key."""
        settings = {
            "OUTDIAL_RETELL_WEBHOOK_KEY": environment["OUTDIAL_RETELL_API_KEY"],
            "OUTDIAL_EVENT_QUEUE_URL": environment["OUTDIAL_EVENT_QUEUE_URL"],
            "OUTDIAL_PARKED_URL": environment["OUTDIAL_PARKED_URL"],
        }
        function = emulator().function(build(), HANDLER, settings)
        front = Front(f"{function}/webhooks/retell")
        self._until.callback(front.close)
        return front.url

    def parked(self, environment: Mapping[str, str], _home: Path) -> Parked:
        """Objects in the bucket."""
        bucket = environment["OUTDIAL_PARKED_URL"].removeprefix("s3://").partition("/")[0]
        return ParkedObjects(emulator().client("s3"), bucket)


_STACKS: dict[str, type[Stack]] = {each.name: each for each in (EmbeddedStack, AwsStack)}


def chosen_stack() -> Stack:
    """The one that the environment names; embedded by default."""
    name = os.environ.get(VARIABLE, EmbeddedStack.name)
    if name not in _STACKS:
        raise ValueError(f"{VARIABLE}={name} is none of {', '.join(_STACKS)}")
    return _STACKS[name]()


@functools.cache
def _postgres() -> PostgresServer:
    until = ExitStack()
    atexit.register(until.close)
    return until.enter_context(running_server())
