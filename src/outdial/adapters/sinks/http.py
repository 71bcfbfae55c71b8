"""Activity events by HTTP: CloudEvents 1.0 in structured form, signed where there is a secret.

Sources: CloudEvents HTTP protocol binding 1.0.2, section 3.2; Standard Webhooks 1.0.
"""

import asyncio
import time
from collections.abc import Callable

import aiohttp
from yarl import URL

from outdial.adapters.sinks.signing import Signer
from outdial.core.activity import CONTENT_TYPE
from outdial.errors import ConfigurationError, Poison, Unavailable

DEPENDENCY = "activity sink"
TIMEOUT_S = 10.0
#: Words of a receiver on itself, its address or our credentials rather than on this event.
_ABOUT_THE_SINK = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429})


class HttpSink:
    """Posts each event to one URL over connections that are kept open.

    Redirects are not followed: they would carry events to where nobody configured them to go.
    """

    def __init__(
        self,
        url: str,
        secret: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`timeout`: seconds for one delivery in all. `clock`: seconds since the epoch.

        Raises `ConfigurationError` for a URL that is not http(s) and for a secret that is none.
        """
        self._url = _checked(url)
        self._signer = Signer(secret) if secret is not None else None
        self._timeout = timeout
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, event_id: str, event: bytes) -> None:
        """See the port."""
        headers = {"content-type": CONTENT_TYPE}
        if self._signer is not None:
            headers |= self._signer.headers(event_id, int(self._clock()), event)
        try:
            async with self._open().post(
                self._url, data=event, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError:
            raise Unavailable(DEPENDENCY, f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(DEPENDENCY, _cause(error)) from None
        _judge(status)

    def _open(self) -> aiohttp.ClientSession:
        # Made at the first delivery, for a session belongs to the loop it is made in.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The relay bounds what is under way at once.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers={"user-agent": "outdial"},
            )
        return self._session

    async def close(self) -> None:
        """See the port."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            # aiohttp closes transports in the next turn of the loop.
            await asyncio.sleep(0)


def _checked(text: str) -> URL:
    try:
        url = URL(text)
        sound = url.scheme in {"http", "https"} and bool(url.host)
    except ValueError:
        sound = False
    if not sound:
        # The URL may hold a password or a token: it is not repeated.
        msg = "OUTDIAL_ACTIVITY_SINK_URL is not a URL such as https://events.example.com/voice"
        raise ConfigurationError(msg)
    return url


def _cause(error: aiohttp.ClientError | OSError) -> str:
    """What went wrong in words that name no URL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({type(error.os_error).__name__})"
    return f"the connection broke ({type(error).__name__})"


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in _ABOUT_THE_SINK:
        raise Poison(f"the activity sink refuses it: HTTP {status}")
    raise Unavailable(DEPENDENCY, f"HTTP {status}")
