"""One line each way between a second terminal and a running demo."""

import asyncio
from pathlib import Path

import pytest

from copilot.demo.faults import Answer, Wish, ask, listening
from copilot.errors import StartError


async def _grant(wish: Wish) -> Answer:
    return Answer(done=wish.fault == "idle", text=f"asked for {wish.fault}", active=["idle"])


async def test_a_wish_is_answered(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    async with listening(socket, _grant):
        assert await ask(socket, Wish(fault="idle")) == Answer(done=True, text="asked for idle", active=["idle"])
        assert (socket.stat().st_mode & 0o077) == 0, "nobody else may break the demo"


async def test_what_is_not_understood_is_answered_too(tmp_path: Path) -> None:
    async with listening(tmp_path / "s", _grant):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"{nonsense\n")
        answer = Answer.model_validate_json(await reader.readline())
        writer.close()
    assert not answer.done
    assert answer.text.startswith("not understood")


async def test_a_demo_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not answer"):
        await ask(tmp_path / "nobody", Wish())
