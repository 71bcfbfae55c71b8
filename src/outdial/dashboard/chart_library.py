"""The browser's chart library (Vega-Lite), made by vl-convert and cached in the home folder.

vl-convert carries a JavaScript engine of 100 MB, so it runs in a child process, once a version.
Run as `python -m outdial.dashboard.chart_library FILE` this module is that child.
"""

import asyncio
import gzip
import importlib.metadata
import os
import sys
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

#: What the library offers to our own script.
_SNIPPET = "window.outdialEmbed = vegaEmbed;"
#: Changes with the snippet: a cached file of another form must not be served.
_FORM = 1


class ChartLibrary:
    """Where the library is; made at the first use."""

    def __init__(self, folder: Path) -> None:
        """`folder` is a cache: what is gone is made again."""
        version = importlib.metadata.version("vl-convert-python")
        self.name = f"charts-{version}-{_FORM}.js"
        self._path = folder / f"{self.name}.gz"
        self._turn = asyncio.Lock()

    async def compressed(self) -> Path | None:
        """The gzipped file; None where it cannot be made (pages show tables then)."""
        async with self._turn:
            if not self._path.exists() and not await self._make():
                return None
            return self._path

    async def _make(self) -> bool:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            str(self._path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, words = await child.communicate()
        if child.returncode != 0:
            said = words.decode(errors="replace").strip().splitlines()
            _log.warning("no chart library", why=said[-1] if said else child.returncode)
        return child.returncode == 0


def make(path: Path) -> None:
    """Write the gzipped library; whole or not at all."""
    import vl_convert  # noqa: PLC0415 - in the child only

    code = vl_convert.javascript_bundle(_SNIPPET)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}")
    half.write_bytes(gzip.compress(code.encode(), mtime=0))
    half.replace(path)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
