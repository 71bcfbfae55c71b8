"""The stage's application."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI

from outdial.analytics.loader import Loader
from outdial.dashboard.assets import Assets
from outdial.dashboard.notice import Status
from outdial.dashboard.pages import Pages
from outdial.dashboard.session import BrowserAuthentication, Tokens
from outdial.http_common.auth import Authentication
from outdial.http_common.openapi import add_documents
from outdial.http_common.operations import Check, operations_routes
from outdial.http_common.problems import install
from outdial.http_common.request_metrics import NO_TELEMETRY
from outdial.ports.keys import Keys
from outdial.ports.warehouse import Warehouse
from outdial.web_api.digest_routes import digest_routes
from outdial.web_api.record_routes import record_routes
from outdial.web_api.report_routes import report_routes
from outdial.web_api.table_routes import table_routes
from outdial.web_api.warehouse_routes import warehouse_routes


def create_app(  # noqa: PLR0913 - one argument a neighbour
    warehouse: Warehouse,
    authentication: Authentication,
    *,
    keys: Keys | None,
    home: Path,
    loader: Loader | None = None,
    checks: Mapping[str, Check] | None = None,
    status: Status | None = None,
) -> FastAPI:
    """API, pages and operations routes.

    `keys`: for logging in to the pages; None where there is no authentication. `home`: for the
    session secret and the chart library. `loader`: where it runs in this process, so that the
    warehouse can be rebuilt from here. `checks` for `/readyz`, beside the warehouse's own.
    `status`: how dialing stands, for the pages' banner; no figure comes from there.
    """
    app = FastAPI(
        title="Outdial analytics",
        version="1",
        description="What happened to the calls. Scope of the API key: `analytics:read`.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=NO_TELEMETRY,
    )
    install(app)
    tokens = Tokens.of_home(home)
    browsers = (
        authentication if keys is None else BrowserAuthentication(authentication, keys, tokens)
    )
    app.include_router(table_routes(warehouse, browsers))
    app.include_router(report_routes(warehouse, browsers))
    app.include_router(record_routes(warehouse, browsers))
    app.include_router(warehouse_routes(warehouse, authentication, loader))
    app.include_router(digest_routes(warehouse, authentication))
    app.router.routes.extend(operations_routes({"warehouse": warehouse.as_of, **(checks or {})}))
    add_documents(app)
    pages = Pages(warehouse, browsers, Assets(home / "cache"), tokens, status)
    app.router.routes.extend(pages.routes())
    return app
