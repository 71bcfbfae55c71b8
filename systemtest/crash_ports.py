"""Ports that belong to a test from its beginning to its end, whoever listens there meanwhile."""

import socket
from types import TracebackType
from typing import Self


class ReservedPorts:
    """Free ports of the loopback, kept from everybody but programs that are told them.

    A socket that is bound and does not listen keeps the kernel from giving its port away, and
    lets a server that reuses addresses listen there; so a server may be killed and started again
    on the port that others know.
    """

    def __init__(self) -> None:
        """None is reserved yet."""
        self._sockets: dict[str, socket.socket] = {}

    def __enter__(self) -> Self:
        """They are held until the block is left."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for reserved in self._sockets.values():
            reserved.close()

    def port(self, name: str) -> int:
        """The port of this name, always the same one."""
        if name not in self._sockets:
            reserved = socket.socket()
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("127.0.0.1", 0))
            self._sockets[name] = reserved
        number: int = self._sockets[name].getsockname()[1]
        return number

    def url(self, name: str) -> str:
        """Where the server of this name listens."""
        return f"http://127.0.0.1:{self.port(name)}"
