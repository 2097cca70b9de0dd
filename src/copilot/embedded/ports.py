"""TCP ports of this machine's loopback address."""

import random
import socket

from copilot.errors import StartError

LOOPBACK = "127.0.0.1"
# Below the ephemeral ports: the system could hand one of those to an outgoing connection between our choice and its
# use, or while the server that owns it restarts.
PORTS = range(20_000, 32_000)
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """`count` different ports on which no process listens, and that this function has not returned before: their
    servers may not listen yet. StartError if there are fewer."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        if port not in _given and _unavailable(port) is None:
            found.append(port)
            _given.add(port)
    raise StartError(f"fewer than {count} ports between {PORTS.start} and {PORTS.stop} are free on {LOOPBACK}")


def claim_port(port: int, *, option: str = "--port") -> int:
    """`port` if a process can listen on it (0: any free port). StartError otherwise; it names the option to change."""
    if port == 0:
        return free_ports(1)[0]
    if (reason := _unavailable(port)) is not None:
        raise StartError(f"port {port} cannot be used ({reason}): choose another with {option}, or 0 for any free port")
    return port


def _unavailable(port: int) -> str | None:
    """Why no process can listen on `port`; None if one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OverflowError:
            return "no such port"
        except OSError as error:
            return error.strerror or str(error)
    return None
