"""Style sheet, script and chart library, under names that change with their content."""

import gzip
import hashlib
from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from outdial.dashboard.chart_library import ChartLibrary

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


class Assets:
    """Everything a page loads."""

    def __init__(self, cache: Path) -> None:
        """`cache`: folder for what is made at the first use."""
        self._library = ChartLibrary(cache)
        self._files: dict[str, tuple[bytes, str]] = {}
        self._urls = {"charts.js": f"/static/{self._library.name}"}
        for entry in files("outdial.dashboard").joinpath("static").iterdir():
            ending = Path(entry.name).suffix
            if ending in _TYPES:
                content = entry.read_bytes()
                digest = hashlib.sha256(content).hexdigest()[:12]
                name = f"{Path(entry.name).stem}-{digest}{ending}"
                self._files[name] = (content, _TYPES[ending])
                self._urls[entry.name] = f"/static/{name}"

    def url(self, name: str) -> str:
        """Where a page finds an asset."""
        return self._urls[name]

    def routes(self) -> list[Route]:
        """Public: they say nothing of anybody's calls."""
        return [Route("/static/{name}", self._serve, methods=["GET"])]

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == self._library.name:
            return await self._serve_library(request)
        if name not in self._files:
            return Response("there is no such file", 404, media_type="text/plain")
        content, media = self._files[name]
        return Response(content, headers=_FOREVER, media_type=media)

    async def _serve_library(self, request: Request) -> Response:
        path = await self._library.compressed()
        if path is None:
            return Response("the chart library cannot be made", 503, media_type="text/plain")
        headers = _FOREVER | {"Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip"}
            return FileResponse(path, headers=headers, media_type="text/javascript")
        return Response(
            gzip.decompress(path.read_bytes()), headers=headers, media_type="text/javascript"
        )
