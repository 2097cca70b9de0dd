"""TCP ports of this machine's loopback address."""

import socket
from contextlib import ExitStack

from copilot.core.errors import StartError

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on just now."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def claim_port(port: int, *, option: str = "--port") -> int:
    """`port` if it can be listened on (0: any free one); else StartError says which option to change."""
    if port == 0:
        return free_ports(1)[0]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such port"
            raise StartError(
                f"port {port} cannot be used ({reason}): give another with {option}, or leave {option} out "
                "to have a free one chosen"
            ) from error
    return port
