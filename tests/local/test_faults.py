"""Faults: the table, the plan of a run, and the socket between a second terminal and a running demo."""

import asyncio
from pathlib import Path

import pytest

from copilot.cli.demo import planned_fault
from copilot.demo.faults import FaultReply, FaultRequest, PlannedFault, send_request, serving_requests
from copilot.errors import CopilotError, StartError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("idle", PlannedFault("idle")),
        ("workers-down@60s", PlannedFault("workers-down", 60.0)),
        ("server-frozen@1m-90s", PlannedFault("server-frozen", 60.0, 90.0)),
    ],
)
def test_a_planned_fault_is_parsed(text: str, expected: PlannedFault) -> None:
    assert planned_fault(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("earthquake@60s", "there is no fault 'earthquake'; choose one of workers-down, "),
        ("idle@", "has no time"),
        ("idle@soon", "is not a duration"),
        ("idle@60s-30s", "ends before it begins"),
        ("burst@60s-90s", "ends by itself"),
    ],
)
def test_an_impossible_plan_is_refused(text: str, why: str) -> None:
    with pytest.raises(CopilotError, match=why):
        planned_fault(text)


async def _handle(request: FaultRequest) -> FaultReply:
    return FaultReply(done=request.fault == "idle", text=f"request for {request.fault}", active=["idle"])


async def test_a_request_gets_a_reply(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    async with serving_requests(socket, _handle):
        reply = await send_request(socket, FaultRequest(fault="idle"))
        assert reply == FaultReply(done=True, text="request for idle", active=["idle"])
        assert (socket.stat().st_mode & 0o077) == 0, "no other user may break the demo"


async def test_an_invalid_request_gets_a_reply_too(tmp_path: Path) -> None:
    async with serving_requests(tmp_path / "s", _handle):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"{nonsense\n")
        reply = FaultReply.model_validate_json(await reader.readline())
        writer.close()
    assert not reply.done
    assert reply.text.startswith("invalid request")


async def test_a_demo_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not reply"):
        await send_request(tmp_path / "nothing", FaultRequest())
