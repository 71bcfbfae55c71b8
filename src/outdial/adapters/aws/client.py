"""One AWS service by aiobotocore: opened when first asked, its errors translated.

Throttling and 5xx are tried again by the client itself (botocore's standard mode). Credentials
that are over are read anew, once an operation: from where they came, so that keys rotated in the
environment's files or by a role are taken up without a restart.
"""

import asyncio
import functools
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoRegionError,
)

from outdial.adapters.aws.addresses import region_of
from outdial.errors import Unavailable

#: Seconds for a connection, and for an answer: longer than the longest poll.
_CONNECT, _READ = 5, 30
#: Long polls hold a connection each.
_CONNECTIONS = 100
_ATTEMPTS = 4

_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_REMEDIES = dict.fromkeys(
    _EXPIRED, "AWS does not take these credentials any more: get new ones"
) | {
    "QueueDoesNotExist": "there is no such queue in {region}: mend its URL, or the region",
    "NonExistentQueue": "there is no such queue in {region}: mend its URL, or the region",
    "NoSuchBucket": "there is no such bucket: mend OUTDIAL_PARKED_URL",
    "AccessDenied": "this role may not do that: allow {action}",
    "AccessDeniedException": "this role may not do that: allow {action}",
    "PermanentRedirect": "the bucket is in another region than {region}: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region than {region}: set AWS_REGION",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
}


class Refused(Unavailable):
    """AWS answered with an error; `code` is AWS's own, without a service's prefix."""

    def __init__(self, dependency: str, detail: str, code: str) -> None:
        """`detail` is one line and holds no secret."""
        super().__init__(dependency, detail)
        self.code = code


class AwsClient:
    """One service's operations. Usable by any number of tasks of one event loop."""

    def __init__(
        self, service: str, dependency: str, *, region: str | None, endpoint: str | None = None
    ) -> None:
        """`region`: None for the environment's. `endpoint`: where the environment names none."""
        self._service = service
        self._dependency = dependency
        self._region = region
        self._endpoint = endpoint
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()

    async def ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        """One operation, by the client's name for it; a streamed `Body` is read to its end.

        Raises `Refused`, else `Unavailable`.
        """
        client = self._client or await self._open(None)
        try:
            try:
                return await _answer(client, operation, parameters)
            except ClientError as error:
                if _code(error) not in _EXPIRED:
                    raise
                client = await self._open(client)
                return await _answer(client, operation, parameters)
        except ClientError as error:
            raise self._refused(error, operation) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(self._dependency, _line(error)) from error

    async def region(self) -> str:
        """The region in which it asks."""
        client = self._client or await self._open(None)
        region: str = client.meta.region_name
        return region

    async def close(self) -> None:
        """Release connections; another `ask` would open it again."""
        self._client = None
        await self._closing.aclose()

    async def _open(self, stale: Any) -> Any:  # noqa: ANN401 - botocore makes clients at run time
        """A client made anew, unless another task has replaced `stale` meanwhile.

        The stale one stays open to the end, for others may be waiting for its answers.
        """
        async with self._opening:
            if self._client is stale:
                try:
                    self._client = await self._closing.enter_async_context(
                        self._make(anew=stale is not None)
                    )
                except NoRegionError as error:
                    raise Unavailable(self._dependency, "no region: set AWS_REGION") from error
                except (BotoCoreError, ValueError) as error:
                    raise Unavailable(self._dependency, _line(error)) from error
            return self._client

    def _make(self, *, anew: bool) -> Any:  # noqa: ANN401 - likewise
        if anew:
            # A session keeps the credentials that it once found.
            _session.cache_clear()
        named = {"AWS_ENDPOINT_URL", f"AWS_ENDPOINT_URL_{self._service.upper()}"} & set(os.environ)
        config = AioConfig(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        session = _session()
        region = self._region or session.get_config_variable("region") or region_of(os.environ)
        return session.create_client(
            self._service,
            region_name=region,
            endpoint_url=None if named else self._endpoint,
            config=config,
        )

    def _refused(self, error: ClientError, operation: str) -> Refused:
        code = _code(error)
        action = "".join(word.title() for word in operation.removesuffix("_batch").split("_"))
        remedy = _REMEDIES.get(code, "").format(
            region=self._client.meta.region_name if self._client else self._region,
            action=f"{self._service}:{action}",
        )
        return Refused(self._dependency, f"{code}: {remedy}" if remedy else _line(error), code)


@functools.cache
def _session() -> AioSession:
    """One a process: what it reads of AWS's descriptions takes half a second."""
    return get_session()


async def _answer(client: Any, operation: str, parameters: Mapping[str, object]) -> dict[str, Any]:  # noqa: ANN401
    answer: dict[str, Any] = await getattr(client, operation)(**parameters)
    if "Body" in answer:
        async with answer["Body"] as stream:
            answer["Body"] = await stream.read()
    return answer


def _code(error: ClientError) -> str:
    details: Mapping[str, Any] = error.response.get("Error", {})
    return str(details.get("Code", "")).rpartition(".")[2]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
