"""A folder for the servers of one measurement."""

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from copilot.embedded.signals import run_until_signal


def run_in_folder(name: str, run: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    """Run in a new folder with `logs` below it, until done or told to end; the folder is removed."""
    with tempfile.TemporaryDirectory(prefix=f"copilot-{name}-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)  # PostgreSQL, which runs as another user where we are root, passes through.
        (folder / "logs").mkdir()
        run_until_signal(run(folder))
