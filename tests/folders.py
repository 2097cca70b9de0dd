"""Folders that PostgreSQL may use: where the tests run as root it runs as another user, whom pytest's own keep out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def passable_folder() -> Iterator[Path]:
    """A temporary folder that any user may pass through, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="copilot-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
