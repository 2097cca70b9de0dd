"""Ports of the loopback address."""

import socket

import pytest

from copilot.embedded.ports import claim_port, free_ports
from copilot.errors import StartError


def test_free_ports_differ_and_can_be_listened_on() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert claim_port(ports[0]) == ports[0]


def test_port_zero_means_any() -> None:
    assert claim_port(0) > 0


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} cannot be used .*--port"):
            claim_port(port)


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(StartError, match="no such port"):
        claim_port(70000)
