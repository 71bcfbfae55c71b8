"""An AWS of this machine for the tests: SQS, S3 and Lambda, by `ministack`.

It runs from an environment of its own (`.venv/ministack`, made by `make`), on a free port of
loopback, and ends with the process that started it. Where it differs from AWS: a receipt used
twice is refused, batches are deleted quadratically, and there is no task that redrives.
"""

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import get_session

#: Whatever is the tests' own environment, the emulator's lies in it.
PYTHON = Path(sys.prefix) / "ministack" / "bin" / "python"
REGION = "us-east-1"
RUNTIME = f"python3.{sys.version_info.minor}"
_SERVICES = "sqs,s3,lambda,iam,sts,events"
_SECONDS = 60

#: Starts it, then waits for its own standard input to close, which it does when the test process
#: ends, however that ends.
_KEEPER = '"$@" </dev/null & read -r _; kill -9 "$!"'


class NoEmulatorError(Exception):
    """The emulator can't run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator; `url` is where all of its services are, `keeper` what ends it."""

    url: str
    keeper: int

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Take connections, and answer nothing."""
        children = Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split()
        (own,) = map(int, children)
        os.kill(own, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(own, signal.SIGCONT)

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to take it for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        }

    def client(self, service: str) -> Any:
        """A plain client of AWS, to set things up and to look at them."""
        return _client(self, service)

    def queue(
        self, name: str, *, visibility: int = 30, max_receives: int | None = 100, **attributes: str
    ) -> str:
        """The URL of a new queue, `name` and something; with a dead-letter queue if it may."""
        sqs = self.client("sqs")
        unique = f"{name}-{uuid.uuid4().hex[:12]}"
        settings = {"VisibilityTimeout": str(visibility), **attributes}
        if max_receives is not None:
            dead = sqs.create_queue(QueueName=f"{unique}-dead")["QueueUrl"]
            names = {"QueueUrl": dead, "AttributeNames": ["QueueArn"]}
            arn = sqs.get_queue_attributes(**names)["Attributes"]["QueueArn"]
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": max_receives}
            settings["RedrivePolicy"] = json.dumps(policy)
        url: str = sqs.create_queue(QueueName=unique, Attributes=settings)["QueueUrl"]
        return url.replace("//localhost:", "//127.0.0.1:")

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"outdial-{uuid.uuid4().hex[:12]}"
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name)
        return name

    def function(self, archive: bytes, handler: str, environment: Mapping[str, str]) -> str:
        """Deploy a new Lambda behind a function URL; its address, without a slash at the end."""
        client = self.client("lambda")
        name = f"webhook-{uuid.uuid4().hex[:12]}"
        client.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Role="arn:aws:iam::000000000000:role/outdial-webhook",
            Handler=handler,
            Code={"ZipFile": archive},
            Timeout=20,
            Environment={"Variables": dict(environment)},
        )
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )
        made = client.create_function_url_config(FunctionName=name, AuthType="NONE")
        # Its host is a name that only AWS's own resolver knows.
        identity = made["FunctionUrl"].partition("://")[2].partition(".")[0]
        return f"{self.url}/_aws/lambda-url/{identity}"


@functools.cache
def _client(aws: Emulator, service: str) -> Any:
    client = get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=aws.url,
        aws_access_key_id=aws.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )
    atexit.register(client.close)
    return client


@functools.cache
def emulator() -> Emulator:
    """The one of this process. Raises `NoEmulatorError` where there can be none."""
    if not PYTHON.exists():
        raise NoEmulatorError(f"{PYTHON} is not there; `make .venv/ministack.stamp` makes it")
    failures = []
    for _ in range(3):  # the port was free, and may not be any more
        port = _free_port()
        stack = contextlib.ExitStack()
        keeper, log = _start(port, stack)
        if _answers(port, log):
            atexit.register(stack.close)
            return Emulator(f"http://127.0.0.1:{port}", keeper)
        failures.append(log.read_text(errors="replace")[-500:])
        stack.close()
    raise NoEmulatorError(f"it does not start: {failures[-1]}")


def _start(port: int, stack: contextlib.ExitStack) -> tuple[int, Path]:
    """Start it; the keeper's process id, and the log."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    log = folder / "log"
    output = stack.enter_context(log.open("wb"))
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "MINISTACK_REGION": REGION,
        "SERVICES": _SERVICES,
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }
    keeper = stack.enter_context(
        subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", str(PYTHON), "-m", "ministack"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=settings,
            cwd=folder,
            # Ctrl-C ends the tests first, and they end it.
            start_new_session=True,
        )
    )
    assert keeper.stdin is not None
    stack.callback(keeper.stdin.close)
    return keeper.pid, log


def _answers(port: int, log: Path) -> bool:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5).close()
            return True
        if "already in use" in log.read_text(errors="replace"):
            return False
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
