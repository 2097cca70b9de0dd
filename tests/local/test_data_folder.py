"""The folder a demo owns, and how a second terminal finds it."""

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from copilot.embedded.data_folder import RunningDemo, find_demo, owned_folder
from copilot.embedded.ports import claim_port, free_ports
from copilot.errors import StartError


@pytest.fixture(autouse=True)
def own_list_of_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def described(folder: Path, *, pid: int = 1, started_at: str = "2026-11-22T12:00:00Z") -> RunningDemo:
    return RunningDemo(
        pid=pid,
        started_at=started_at,
        data_dir=folder,
        socket=folder / "demo.socket",
        page="http://127.0.0.1:1",
        temporal="127.0.0.1:2",
        copilot_temporal="127.0.0.1:3",
        metrics={},
        store="postgresql://127.0.0.1:4/postgres",
        config=folder / "copilot.toml",
        logs=folder / "logs",
        children={},
    )


def test_a_temporary_folder_is_removed_at_the_end_and_a_chosen_one_stays(tmp_path: Path) -> None:
    with owned_folder(None) as folder:
        assert (folder / "logs").is_dir()
    assert not folder.exists()
    with owned_folder(tmp_path / "mine") as folder:
        assert folder == tmp_path / "mine"
    assert folder.exists()


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    passing = 0o711 if os.geteuid() == 0 else 0o700
    for chosen in (None, tmp_path / "new" / "data"):
        with owned_folder(chosen) as folder:
            assert [stat.S_IMODE(f.stat().st_mode) for f in (folder, folder / "logs")] == [passing, 0o700]


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        owned_folder(tmp_path),
        pytest.raises(StartError, match=r"another demo runs in .*--data-dir"),
        owned_folder(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"file/data cannot be used \(Not a directory\).*--data-dir"):  # noqa: SIM117
        with owned_folder(tmp_path / "file" / "data"):
            pass


def test_the_newest_running_demo_is_found(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "a") as a, owned_folder(tmp_path / "b") as b:
        described(a, pid=1, started_at="2026-11-22T12:00:00Z").write()
        described(b, pid=2, started_at="2026-11-22T12:00:01Z").write()
        assert find_demo(None).data_dir == b
        assert find_demo(a).data_dir == a


def test_a_demo_that_was_killed_is_not_found_and_its_temporary_folder_goes_with_the_next(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "kept") as kept:
        described(kept).write()
    with pytest.raises(StartError, match="no demo runs: start one with `copilot demo`"):
        find_demo(None)
    with pytest.raises(StartError, match="no demo runs in"):
        find_demo(kept)
    with owned_folder(None):
        assert kept.exists(), "a folder of the user's own is never removed"
        assert list((tmp_path / "run" / "copilot").iterdir()) == []


def test_the_logs_of_a_start_that_failed_stay() -> None:
    with pytest.raises(StartError, match="look into the log"), owned_folder(None) as folder:  # noqa: PT012
        (folder / "logs" / "server.log").write_text("the reason")
        (folder / "big").mkdir()
        raise StartError("look into the log")
    assert [part.name for part in folder.iterdir()] == ["logs"]
    shutil.rmtree(folder)


def test_free_ports_differ_and_can_be_listened_on() -> None:
    ports = [*free_ports(20), *free_ports(20)]
    assert len(set(ports)) == 40
    assert claim_port(ports[0]) == ports[0]
    assert claim_port(0) > 0, "0 means any"


def test_a_port_that_is_taken_or_does_not_exist_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} cannot be used .*--port"):
            claim_port(port)
    with pytest.raises(StartError, match="no such port"):
        claim_port(70000)
