"""What the Lambda sends: a message to SQS, an object to S3, signed, by the standard library.

A connection is kept between two events. It may have been closed while the Lambda was frozen, and
a request that was sent on it may or may not have been taken: it is sent again, for an event that
comes twice does no harm.
"""

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from outdial.adapters.aws.addresses import BucketAddress, QueueAddress, region_of
from outdial.adapters.aws.signing import Credentials, Request, object_path, signed_headers
from outdial.errors import ConfigurationError, Unavailable

#: Seconds for a connection and for each answer, and how often a request is tried: in all less than
#: the ten seconds that Retell waits.
_SECONDS = 2.0
_TRIES = 2
_AGAIN = frozenset({429, 500, 502, 503, 504})
#: Of an answer only what went wrong is of interest.
_TOLD = 2000


def queue_sender(address: QueueAddress, environment: Mapping[str, str]) -> Callable[[str], None]:
    """Gives one message to the queue; returns once SQS has stored it, else `Unavailable`."""
    region = address.region or _region(environment)
    origin = _endpoint("SQS", environment) or address.origin
    service = _Service("event queue", "sqs", region, origin, environment)
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "AmazonSQS.SendMessage",
    }

    def send(body: str) -> None:
        message = {"QueueUrl": address.url, "MessageBody": body}
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        service.send("POST", "/", headers, text.encode())

    return send


def object_sender(
    address: BucketAddress, environment: Mapping[str, str]
) -> Callable[[str, bytes], None]:
    """Stores a blob under a parking key; returns once S3 has stored it, else `Unavailable`."""
    region = _region(environment)
    given = _endpoint("S3", environment)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    # The certificate is for one label before S3's own, so a name with dots goes into the path; and
    # an emulator knows no other hosts than its own.
    in_path = given is not None or "." in address.bucket
    host = f"s3.{region}.{domain}" if in_path else f"{address.bucket}.s3.{region}.{domain}"
    service = _Service("parking bucket", "s3", region, given or f"https://{host}", environment)
    root = f"/{address.bucket}/" if in_path else "/"

    def store(key: str, data: bytes) -> None:
        service.send("PUT", root + object_path(address.key(key)), {}, data)

    return store


class _Service:
    """One endpoint; keeps the connections that nobody uses just now."""

    def __init__(
        self,
        dependency: str,
        name: str,
        region: str,
        origin: str,
        environment: Mapping[str, str],
    ) -> None:
        self._dependency = dependency
        self._name = name
        self._region = region
        self._origin = urlsplit(origin)
        self._environment = environment
        self._idle: list[http.client.HTTPConnection] = []
        # Loading the certificates takes longer than all else: once, not for each connection.
        self._tls = ssl.create_default_context() if self._origin.scheme == "https" else None

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """One request; tried again where that may help. `Unavailable` where it was not taken."""
        request = Request(method, self._origin.netloc, path, headers, body)
        why = ""
        for _ in range(_TRIES):
            try:
                status, said = self._exchange(request)
            except (OSError, http.client.HTTPException) as error:
                why = f"{self._origin.netloc}: {str(error) or type(error).__name__}"
                # As old as the one that failed, if there are any.
                while self._idle:
                    self._idle.pop().close()
                continue
            if status < 300:
                return
            why = f"{self._origin.netloc} answers {status} {_reason(said)}"
            if status not in _AGAIN and "Throttl" not in why:
                break
        raise Unavailable(self._dependency, why)

    def _exchange(self, request: Request) -> tuple[int, bytes]:
        headers = signed_headers(
            request,
            self._name,
            self._region,
            _credentials(self._environment),
            time.time_ns() // 1_000_000,
        )
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            said = answer.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer.status, said[:_TOLD]

    def _connect(self) -> http.client.HTTPConnection:
        host = self._origin.netloc
        if self._tls is None:
            return http.client.HTTPConnection(host, timeout=_SECONDS)
        return http.client.HTTPSConnection(host, timeout=_SECONDS, context=self._tls)


def _reason(said: bytes) -> str:
    """AWS's own words, of JSON or XML: code and message."""
    text = said.decode("utf-8", "replace")
    found = re.findall(r'"(?:__type|message|Message)"\s*:\s*"([^"]*)"', text) or re.findall(
        r"<(?:Code|Message)>([^<]*)<", text
    )
    return ": ".join(part.rpartition("#")[2] for part in found[:2])


def _region(environment: Mapping[str, str]) -> str:
    region = region_of(environment)
    if region is None:
        raise ConfigurationError("AWS_REGION is not set; Lambda sets it by itself")
    return region


def _endpoint(service: str, environment: Mapping[str, str]) -> str | None:
    return (
        environment.get(f"AWS_ENDPOINT_URL_{service}")
        or environment.get("AWS_ENDPOINT_URL")
        or None
    )


def _credentials(environment: Mapping[str, str]) -> Credentials:
    """Those of the Lambda's role, read anew each time."""
    try:
        return Credentials(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment.get("AWS_SESSION_TOKEN") or None,
        )
    except KeyError as error:
        raise Unavailable("credentials", f"{error.args[0]} is not set") from None
