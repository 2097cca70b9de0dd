"""Checks the size of src/copilot against [tool.copilot.ratchet] of pyproject.toml: `python -m tools.ratchet`."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]


class Limits(BaseModel):
    """Upper limits of the whole package, limits of one file, and the files below the minimum, each a concept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: int
    files: int
    max_file_lines: int
    min_file_lines: int
    short_files: tuple[str, ...] = ()


def violations(package: Path, limits: Limits) -> Iterator[str]:
    """What exceeds the limits, one sentence each."""
    sizes = {str(p.relative_to(package)): len(p.read_text("utf-8").splitlines()) for p in package.rglob("*.py")}
    for what, size, limit in (("lines", sum(sizes.values()), limits.lines), ("files", len(sizes), limits.files)):
        if size > limit:
            yield f"{package.name} has {size:,} {what}, the limit is {limit:,}: simplify, or raise it with an ADR"
    for name, size in sorted(sizes.items()):
        if size > limits.max_file_lines:
            yield f"{name} has {size} lines, the limit is {limits.max_file_lines}: split it by concept"
        short = size < limits.min_file_lines and not name.endswith(("__init__.py", "__main__.py"))
        if short and name not in limits.short_files:
            yield f"{name} has {size} lines, the minimum is {limits.min_file_lines}: merge it, or list it"
    for name in limits.short_files:
        if sizes.get(name, 0) >= limits.min_file_lines or name not in sizes:
            yield f"{name} is not a short file: remove it from short_files"


def main() -> int:
    """Print the violations. Returns 1 if there are any."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["copilot"]["ratchet"]
    found = list(violations(ROOT / "src" / "copilot", Limits.model_validate(table)))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
