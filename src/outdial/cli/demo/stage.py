"""Where the demo plays: settings that owe nothing to the environment, a fresh home, free ports."""

import os
import shutil
import socket
from pathlib import Path

from outdial import config
from outdial.cli import home, session
from outdial.config import Settings
from outdial.errors import ConfigurationError

#: The pace that the demo lifts the limits to.
RATE, AT_ONCE = 50, 200
FOLDER = "demo"
#: Says that a folder is a demo's, and may be emptied.
_MARK = "demo.mark"


def settings() -> Settings:
    """The demo's own: of the environment only where its folder lies."""
    base = Path(os.environ.get(f"{config.PREFIX}HOME") or ".outdial")
    for name in [name for name in os.environ if name.startswith(config.PREFIX)]:
        # The simulator is a child process: what is left here would reach it.
        del os.environ[name]
    return config.load(
        dotenv=False,
        home=base / FOLDER,
        dial_rate=RATE,
        max_concurrent_calls=AT_ONCE,
        log_level="error",
    )


def refresh(folder: Path) -> None:
    """Empty the demo's folder. Call while holding it; refuses a folder that is somebody else's."""
    others = [path for path in folder.iterdir() if path.name != home.LOCK]
    mark = folder / _MARK
    if others and not mark.exists():
        raise ConfigurationError(
            f"{folder} holds {others[0].name}, which no demo made: move it away, "
            f"or set OUTDIAL_HOME to another folder"
        )
    mark.touch()
    for path in others:
        if path == mark:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def ports() -> dict[str, int]:
    """The usual ports, or free ones where another program has them."""
    chosen = {}
    for name in ("internal-api", "webhook", "web-api", "simulator"):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((session.LOOPBACK, session.PORTS[name]))
                chosen[name] = session.PORTS[name]
            except OSError:
                chosen[name] = 0
    return chosen
