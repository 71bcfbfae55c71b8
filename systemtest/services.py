"""The program's HTTP services, asked as any client would."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

ENDS = frozenset({"completed", "failed", "cancelled", "expired", "rejected"})


class VoiceApi:
    """The Voice API with one key. `url` may change between two lives of the program."""

    def __init__(self, url: str, key: str) -> None:
        """`key`: an API key with all scopes."""
        self.url = url
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )

    def place(self, keys: Iterable[str], **fields: object) -> list[str]:
        """Place a call an idempotency key, in one batch; their ids.

        Raises `httpx.TransportError` or `IncompleteError` where the program went away: placing
        the same keys again gives the same calls.
        """
        wanted = list(keys)
        lines = [
            json.dumps({"to_number": number_of(key), "idempotency_key": key, **fields})
            for key in wanted
        ]
        answer = self._http.post(
            f"{self.url}/v1/calls/batch",
            content="\n".join(lines).encode(),
            headers={"content-type": "application/x-ndjson"},
        )
        answer.raise_for_status()
        entries = [json.loads(line) for line in answer.text.splitlines()]
        if len(entries) != len(wanted) or any("id" not in entry for entry in entries):
            raise IncompleteError(entries)
        return [entry["id"] for entry in entries]

    def place_patiently(
        self, keys: Iterable[str], *, seconds: float = 60, **fields: object
    ) -> list[str]:
        """`place`, again and again until the program has taken them."""
        wanted = list(keys)
        until = time.monotonic() + seconds
        while True:
            try:
                return self.place(wanted, **fields)
            except (httpx.TransportError, httpx.HTTPStatusError, IncompleteError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def call(self, call_id: str) -> dict[str, Any]:
        """One call with its attempts and timeline."""
        return _json(self._http.get(f"{self.url}/v1/calls/{call_id}"))

    def statuses(self) -> dict[str, str]:
        """Every call's status, by its id."""
        found: dict[str, str] = {}
        cursor: str | None = None
        while True:
            query: dict[str, Any] = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = _json(self._http.get(f"{self.url}/v1/calls", params=query))
            found |= {item["id"]: item["status"] for item in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def under_way(self) -> list[str]:
        """The statuses that are no end and that some call has."""
        pages = {
            status: _json(
                self._http.get(f"{self.url}/v1/calls", params={"status": status, "limit": 1})
            )
            for status in ("scheduled", "queued", "dialing", "in_progress")
        }
        return [status for status, page in pages.items() if page["items"]]

    def pause(self) -> None:
        """Press the stop button for everything."""
        self._http.post(f"{self.url}/v1/pause", json={}).raise_for_status()

    def resume(self) -> None:
        """Lift every pause."""
        self._http.post(f"{self.url}/v1/resume", json={}).raise_for_status()

    def close(self) -> None:
        """Release connections."""
        self._http.close()


class IncompleteError(Exception):
    """Some calls of a batch were not accepted; the entries say why."""


class Simulator:
    """The simulator's control. `url` may change between two lives of the program."""

    def __init__(self, url: str) -> None:
        """`url`: without a path."""
        self.url = url
        self._http = httpx.Client(timeout=30, trust_env=False)

    def dials(self) -> list[dict[str, Any]]:
        """Every dial it really placed, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query: dict[str, Any] = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = _json(self._http.get(f"{self.url}/sim/dials", params=query))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def stats(self) -> dict[str, Any]:
        """Its counts, of faults and retries too."""
        return _json(self._http.get(f"{self.url}/sim/stats"))

    def set_faults(self, faults: Mapping[str, float | str]) -> None:
        """Shares of calls or events that go wrong."""
        self._http.post(f"{self.url}/sim/faults", json=dict(faults)).raise_for_status()

    def call(self, retell_call_id: str, key: str = "key_simulator") -> dict[str, Any]:
        """A call as the platform tells of it; `key`: the workspace's."""
        url = f"{self.url}/v2/get-call/{retell_call_id}"
        return _json(self._http.get(url, headers={"authorization": f"Bearer {key}"}))

    def forget(self, retell_call_id: str, key: str = "key_simulator") -> None:
        """Delete a call from the API's sight; `key`: the workspace's."""
        url = f"{self.url}/v2/delete-call/{retell_call_id}"
        self._http.delete(url, headers={"authorization": f"Bearer {key}"}).raise_for_status()

    def close(self) -> None:
        """Release connections."""
        self._http.close()


def keys(count: int, prefix: str = "call", *, start: int = 0) -> list[str]:
    """So many idempotency keys, numbered from `start`."""
    return [f"{prefix}-{number}" for number in range(start, start + count)]


def number_of(key: str) -> str:
    """A number reserved for fiction, always the same for the key."""
    return f"+1415555{100 + sum(key.encode()) % 100:04d}"


def _json(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    decoded: dict[str, Any] = answer.json()
    return decoded
