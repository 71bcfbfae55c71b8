"""What the webhook Lambda costs: cold, beside a boto3 handler and a bare one; and warm.

Cold is a fresh interpreter's time from the import of the handler to its first answer, with the
message sent to an endpoint on loopback that answers at once. Lambda's own time for a sandbox and
an interpreter comes on top, alike for all. Machines differ, so what counts are the ratios.

    make .venv/ministack.stamp && .venv/bin/python benchmarks/lambda_cold_start.py [ROUNDS]
"""

import hashlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.build_lambda import build  # noqa: E402 - the script stands outside the path
from outdial.core.signature import HEADER, sign  # noqa: E402
from outdial.webhook_lambda import Entry  # noqa: E402

#: Has boto3, which the package's own environment has not; all three handlers run on it.
PYTHON = Path(sys.prefix) / "ministack" / "bin" / "python"
KEY = "key_benchmark"
BODY = (ROOT / "tests" / "events" / "call_analyzed.json").read_bytes()
WARM_EVENTS = 2000

BARE = "def handler(event, context):\n    return {'statusCode': 204}\n"
BOTO3 = """
import hashlib, hmac, json, os, time
import boto3
sqs = boto3.client("sqs")
def handler(event, context):
    body = event["body"].encode()
    said = dict(part.split("=", 1) for part in event["headers"]["x-retell-signature"].split(","))
    key = os.environ["OUTDIAL_RETELL_WEBHOOK_KEY"].encode()
    good = hmac.new(key, body + said["v"].encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(good, said["d"]):
        return {"statusCode": 401}
    url = os.environ["OUTDIAL_EVENT_QUEUE_URL"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(json.loads(body)))
    return {"statusCode": 204}
"""
#: Prints seconds by the clock and of CPU.
MEASURE = """
import json, sys, time
event = json.load(sys.stdin)
wall, cpu = time.perf_counter(), time.process_time()
sys.path.insert(0, sys.argv[1])
module = __import__(sys.argv[2], fromlist=["handler"])
answer = module.handler(event, None)
print(time.perf_counter() - wall, time.process_time() - cpu)
assert answer["statusCode"] == 204, answer
"""


class Queue(BaseHTTPRequestHandler):
    """Takes every message at once."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        """Answer as SQS does."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        digest = hashlib.md5(asked["MessageBody"].encode(), usedforsecurity=False).hexdigest()
        said = json.dumps({"MessageId": "1", "MD5OfMessageBody": digest}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def event() -> dict[str, object]:
    """A signed webhook as a function URL tells it."""
    signature = sign(KEY, BODY, time.time_ns() // 1_000_000)
    return {"version": "2.0", "headers": {HEADER: signature}, "body": BODY.decode()}


def cold(folder: Path, module: str, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds by the clock and of CPU of one cold start."""
    done = subprocess.run(
        # Nothing compiled is kept: a Lambda's code lies on a disk that can't be written to.
        [str(PYTHON), "-B", "-c", MEASURE, str(folder), module],
        input=json.dumps(event()),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def warm() -> float:
    """Seconds of CPU an event takes besides the request to the queue."""
    entry = Entry((KEY,), lambda _: None, lambda _key, _data: None)
    asked = event()
    entry(asked)
    began = time.process_time()
    for _ in range(WARM_EVENTS):
        assert entry(asked)["statusCode"] == 204
    return (time.process_time() - began) / WARM_EVENTS


def main(rounds: int) -> None:
    """Measure the three in turn, print medians and ratios."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Queue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    environment = {
        "AWS_ENDPOINT_URL": origin,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "OUTDIAL_RETELL_WEBHOOK_KEY": KEY,
        "OUTDIAL_EVENT_QUEUE_URL": f"{origin}/000000000000/events",
        "OUTDIAL_PARKED_URL": "s3://bucket/parked",
    }
    archive = build()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
        (folder / "bare.py").write_text(BARE)
        (folder / "with_boto3.py").write_text(BOTO3)
        modules = {"bare": "bare", "outdial": "outdial.webhook_lambda", "boto3": "with_boto3"}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in modules}
        for _ in range(rounds):
            for name, module in modules.items():
                found[name].append(cold(folder, module, environment))
    server.shutdown()
    wall = {name: statistics.median(each[0] for each in all_) for name, all_ in found.items()}
    cpu = {name: statistics.median(each[1] for each in all_) for name, all_ in found.items()}
    print(f"{'':10}{'cold, ms':>10}{'CPU, ms':>10}{'of boto3':>10}")
    for name in modules:
        share = cpu[name] / cpu["boto3"]
        print(f"{name:10}{1000 * wall[name]:10.1f}{1000 * cpu[name]:10.1f}{share:10.2f}")
    print(f"archive {len(archive) / 1000:.0f} kB; warm {1000 * warm():.2f} ms of CPU an event")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
