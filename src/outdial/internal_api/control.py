"""The stop button."""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import (
    JSON,
    decode,
    json_response,
    read_body,
    require_media_type,
)
from outdial.http_common.problems import ProblemError, faults_in, invalid
from outdial.internal_api.records import pauses_json
from outdial.internal_api.schemas import PauseRequest
from outdial.ports.intake import Intake
from outdial.ports.keys import Scope


class Control:
    """Pause and resume, for whoever has the scope `admin`: for all tenants, or the one named."""

    def __init__(self, intake: Intake, authentication: Authentication) -> None:
        """Each route authenticates before it reads anything."""
        self._intake = intake
        self._authentication = authentication

    async def pause(self, request: Request) -> Response:
        """Stop dialing: nothing in scope is dialed from the next claim on; calls wait."""
        asked = await self._asked(request)
        await self._intake.pause(asked.tenant, asked.campaign)
        return await self._in_force()

    async def resume(self, request: Request) -> Response:
        """Lift that very pause; without a field every pause."""
        asked = await self._asked(request)
        await self._intake.resume(asked.tenant, asked.campaign)
        return await self._in_force()

    async def pauses(self, request: Request) -> Response:
        """List the pauses in force."""
        await self._authentication.caller(request, Scope.ADMIN)
        return await self._in_force()

    async def _in_force(self) -> Response:
        return json_response(pauses_json(await self._intake.pauses()))

    async def _asked(self, request: Request) -> PauseRequest:
        await self._authentication.caller(request, Scope.ADMIN)
        body = await read_body(request)
        if not body:
            return PauseRequest()
        require_media_type(request, JSON)
        try:
            return PauseRequest.model_validate(decode(body))
        except ValidationError as error:
            faults = faults_in(error.errors(include_url=False, include_input=False))
            raise ProblemError(invalid(faults)) from None
