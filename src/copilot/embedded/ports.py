"""TCP ports of this machine's loopback address."""

import random
import socket

from copilot.errors import StartError

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand to outgoing connections: one of those could take a port between our choice and its
# use, or while a server that owns it is restarted.
CHOICE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on just now. StartError if there are not so many."""
    found: list[int] = []
    for port in random.sample(CHOICE, len(CHOICE)):
        if len(found) == count:
            return found
        if _why_not(port) is None:
            found.append(port)
    raise StartError(f"there are no {count} free ports between {CHOICE.start} and {CHOICE.stop} on {LOOPBACK}")


def claim_port(port: int, *, option: str = "--port") -> int:
    """`port` if it can be listened on (0: any free one); else StartError says which option to change."""
    if port == 0:
        return free_ports(1)[0]
    if (reason := _why_not(port)) is not None:
        raise StartError(
            f"port {port} cannot be used ({reason}): give another with {option}, or 0 to have a free one chosen"
        )
    return port


def _why_not(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OverflowError:
            return "no such port"
        except OSError as error:
            return error.strerror or str(error)
    return None
