"""Routes of the pages. They answer in HTML, also when something is wrong."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from outdial.analytics.metrics import METRICS
from outdial.analytics.records import story
from outdial.analytics.scope import OwnRows
from outdial.analytics.transcript import turns
from outdial.dashboard import choice as choices
from outdial.dashboard import formatting
from outdial.dashboard.assets import Assets
from outdial.dashboard.notice import Status, notice
from outdial.dashboard.session import COOKIE, SESSION_SECONDS, BrowserAuthentication, Tokens
from outdial.dashboard.view import gather
from outdial.errors import Unavailable
from outdial.http_common.auth import Authentication, secret_hash
from outdial.http_common.bodies import read_body
from outdial.http_common.problems import ProblemError
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse

#: Nothing runs, loads or frames these pages but what this server gives out itself: transcripts
#: and summaries are hostile input.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_Handler = Callable[[Request], Awaitable[Response]]


class Pages:
    """The dashboard over one warehouse."""

    def __init__(
        self,
        warehouse: Warehouse,
        authentication: Authentication,
        assets: Assets,
        tokens: Tokens,
        status: Status | None = None,
    ) -> None:
        """`authentication` knows sessions, unless there are no keys at all.

        `status`: how dialing stands, where the ledger can be asked.
        """
        self._warehouse = warehouse
        self._authentication = authentication
        self._assets = assets
        self._tokens = tokens
        self._status = status
        self._templates = _environment(assets)

    def routes(self) -> list[Route]:
        """All pages."""
        return [
            Route("/", self._guarded(self._first), methods=["GET"]),
            Route("/live", self._guarded(self._live), methods=["GET"]),
            Route("/calls/{call_id}", self._guarded(self._call), methods=["GET"]),
            Route("/login", self._guarded(self._login), methods=["GET"]),
            Route("/login", self._guarded(self._log_in), methods=["POST"]),
            Route("/logout", self._guarded(self._log_out), methods=["POST"]),
            *self._assets.routes(),
        ]

    async def _first(self, request: Request) -> Response:
        return await self._view(request, "page.html")

    async def _live(self, request: Request) -> Response:
        return await self._view(request, "live.html")

    async def _view(self, request: Request, template: str) -> Response:
        own, tenant = await self._own(request)
        view = await gather(own, choices.read(request))
        return self._render(
            template,
            tenant=tenant,
            notice=await notice(self._status),
            view=view,
            periods=choices.PERIODS,
            selects=choices.SELECTS,
            placed=METRICS["placed"].meaning,
            tz=view.choice.tz,
        )

    async def _call(self, request: Request) -> Response:
        own, tenant = await self._own(request)
        found = await story(own, request.path_params["call_id"])
        if found is None:
            return self._message(404, "No such call", "There is no call with this id.")
        return self._render(
            "call.html",
            tenant=tenant,
            call=found.call,
            attempts=found.attempts,
            timeline=found.timeline,
            as_of=await own.as_of(),
            tz=choices.read(request).tz,
        )

    async def _login(self, request: Request) -> Response:
        token = request.query_params.get("token")
        key_hash = None if token is None else self._tokens.read("link", token)
        if key_hash is not None:
            return await self._admit(request, key_hash, "/")
        fault = None if token is None else "This link is over. Log in with an API key."
        return self._render(
            "login.html", fault=fault, next=_inside(request.query_params.get("next"))
        )

    async def _log_in(self, request: Request) -> Response:
        # Somebody else's page must not log a visitor in as somebody else.
        if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return self._message(403, "Not from here", "Open this page itself and log in there.")
        form = parse_qs((await read_body(request, 16_384)).decode("utf-8", "replace"))
        key = form.get("key", [""])[0].strip()
        return await self._admit(request, secret_hash(key), _inside(form.get("next", [""])[0]))

    async def _admit(self, request: Request, key_hash: str, target: str) -> Response:
        if not isinstance(self._authentication, BrowserAuthentication):
            return RedirectResponse("/", 303)
        caller = await self._authentication.of_key(key_hash)
        if caller is None or not caller.may(Scope.ANALYTICS_READ):
            fault = (
                "This API key is unknown or revoked."
                if caller is None
                else "This API key may not see analytics; it lacks the scope analytics:read."
            )
            return self._render("login.html", 403, fault=fault, next=target)
        response = RedirectResponse(target, 303, _HEADERS)
        response.set_cookie(
            COOKIE,
            self._tokens.sign("session", key_hash, SESSION_SECONDS),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
        )
        return response

    async def _log_out(self, _: Request) -> Response:
        response = RedirectResponse("/login", 303, _HEADERS)
        response.delete_cookie(COOKIE)
        return response

    async def _own(self, request: Request) -> tuple[OwnRows, str]:
        caller = await self._authentication.caller(request, Scope.ANALYTICS_READ)
        return OwnRows(self._warehouse, caller.tenant), caller.tenant

    def _guarded(self, handler: _Handler) -> _Handler:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except Unavailable as error:
                return self._message(
                    503,
                    f"The {error.dependency} does not answer",
                    "Calls go on meanwhile, and nothing is lost. This page tries again by itself.",
                )
            except ProblemError as error:
                if error.problem.status != 401:
                    return self._message(error.problem.status, "Not allowed", error.problem.detail)
                if request.url.path == "/live":
                    return self._message(401, "Logged out", "Log in again.")
                path = request.url.path
                query = f"?next={path}" if path != "/" else ""
                return RedirectResponse(f"/login{query}", 303, _HEADERS)

        return guarded

    def _message(self, status: int, title: str, detail: str) -> Response:
        return self._render("message.html", status, title=title, detail=detail, status=status)

    def _render(self, template: str, status_code: int = 200, /, **values: object) -> Response:
        body = self._templates.get_template(template).render(**values)
        return Response(body, status_code, _HEADERS, media_type="text/html")


def _inside(path: str | None) -> str:
    """Where to go after logging in; only to a page of ours."""
    if not path or not path.startswith("/") or path.startswith("//") or "\\" in path:
        return "/"
    parts = urlsplit(path)
    return "/" if parts.scheme or parts.netloc or parts.path.startswith("/log") else path


def _environment(assets: Assets) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("outdial.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": formatting.count,
        "percent": formatting.percent,
        "duration": formatting.duration,
        "money": formatting.money,
        "words": formatting.words,
        "clock": formatting.clock,
        "turns": turns,
        "web_address": _web_address,
    }
    environment.globals["asset"] = assets.url
    return environment


def _web_address(url: str | None) -> str | None:
    """Only what a browser may be sent to: not `javascript:` and its like."""
    return url if url and urlsplit(url).scheme in {"http", "https"} else None
