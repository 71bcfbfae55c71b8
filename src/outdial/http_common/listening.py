"""Sockets to listen on, with errors that say what to do."""

import errno
import socket

from outdial.errors import ConfigurationError


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket; port 0 picks a free one.

    Raises `ConfigurationError` with one line where the address can't be had.
    """
    if not 0 <= port <= 65_535:
        # The resolver would quietly take it modulo 65,536.
        raise ConfigurationError(f"port {port} is none; choose one up to 65535 with --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"cannot listen on {host} port {port}: {_cause(error)}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(2048)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigurationError(_reason(error, host, port)) from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Where this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - all addresses
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reason(error: OSError, host: str, port: int) -> str:
    code = error.errno
    if code == errno.EADDRINUSE:
        return f"port {port} is in use; choose another with --port"
    if code == errno.EACCES:
        return f"port {port} is not allowed to this user; choose one above 1023 with --port"
    if code == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; choose another with --host"
    return f"cannot listen on {host} port {port}: {_cause(error)}"


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
