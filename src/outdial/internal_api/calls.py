"""One call: place, look at, list, cancel."""

import re
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from outdial.core.call import CALL_ENDS
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response, read_json
from outdial.http_common.problems import Fault, Problem, ProblemError, invalid
from outdial.internal_api.placing import Placing, key_conflict
from outdial.internal_api.reading import Key, read_key
from outdial.internal_api.records import call_json, summary_json
from outdial.internal_api.schemas import ListQuery
from outdial.ports.intake import Accepted, Intake, KeyConflict
from outdial.ports.keys import Scope

KEY_HEADER = "Idempotency-Key"

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Calls:
    """The routes under `/v1/calls` but the batch."""

    def __init__(self, intake: Intake, placing: Placing, authentication: Authentication) -> None:
        """Each route authenticates before it reads anything."""
        self._intake = intake
        self._placing = placing
        self._authentication = authentication

    async def place(self, request: Request) -> Response:
        """Place a call. It is durable when the answer comes."""
        caller = await self._authentication.caller(request, Scope.CALLS_WRITE)
        key = _key_of(request)
        raw = await read_json(request)
        answer = await self._placing.read(caller.tenant, raw, key)
        if not isinstance(answer, Accepted):
            stored = await self._placing.commits.accept(answer)
            if isinstance(stored, KeyConflict):
                raise ProblemError(key_conflict(stored, KEY_HEADER))
            answer = stored
        headers = {"Location": f"/v1/calls/{answer.call_id}"}
        if answer.replayed:
            headers["Idempotency-Replayed"] = "true"
        body = {
            "id": answer.call_id,
            "status": answer.status.value,
            "external_id": raw.get("external_id"),
            "campaign": raw.get("campaign"),
        }
        return json_response(body, 202, headers)

    async def show(self, request: Request, call_id: str) -> Response:
        """Show a call with its attempts and timeline."""
        caller = await self._authentication.caller(request, Scope.CALLS_READ)
        call = await self._intake.get(caller.tenant, _checked(call_id))
        if call is None:
            raise _unknown(call_id)
        return json_response(call_json(call))

    async def list(self, request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        """List calls, newest first."""
        caller = await self._authentication.caller(request, Scope.CALLS_READ)
        given = request.query_params
        if twice := [name for name in given if len(given.getlist(name)) > 1]:
            raise ProblemError(invalid(Fault(f"?{name}", "may be given once") for name in twice))
        try:
            page = await self._intake.page(
                caller.tenant,
                status=query.status,
                external_id=query.external_id,
                campaign=query.campaign,
                cursor=query.cursor,
                limit=query.limit,
            )
        except ValueError:
            fault = Fault("?cursor", "is none of ours; take next_cursor of the page before")
            raise ProblemError(invalid([fault])) from None
        items = [summary_json(call) for call in page.items]
        return json_response({"items": items, "next_cursor": page.next_cursor})

    async def cancel(self, request: Request, call_id: str) -> Response:
        """Cancel a call that waits to be dialed. Again: the same answer."""
        caller = await self._authentication.caller(request, Scope.CALLS_WRITE)
        outcome = await self._intake.cancel(caller.tenant, _checked(call_id))
        if outcome is None:
            raise _unknown(call_id)
        if not outcome.granted:
            status = outcome.call.status
            why = "it has ended" if status in CALL_ENDS else "it is under way"
            raise ProblemError(
                Problem(409, f"the call can't be cancelled: {why} (status {status.value})")
            )
        return json_response(call_json(outcome.call))


def _checked(call_id: str) -> str:
    # What is no id at all is not worth a query, nor safe in every one.
    if _ID.fullmatch(call_id) is None:
        raise _unknown(call_id)
    return call_id


def _unknown(call_id: str) -> ProblemError:
    return ProblemError(Problem(404, f"there is no call {call_id[:64]!r}"))


def _key_of(request: Request) -> Key:
    given = request.headers.getlist(KEY_HEADER)
    if len(given) > 1:
        # Whichever was taken, a retry by the other one would dial again.
        return Key(None, (Fault(KEY_HEADER, "is given twice: a request has one key"),))
    # Optional whitespace around a header's value is no part of it (RFC 9110, 5.5).
    return read_key(given[0].strip(" \t") if given else None, KEY_HEADER)
