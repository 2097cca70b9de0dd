"""What the tree must not contain: long files, patches of our own modules, registry addresses, paths of a machine."""

import re
import shutil
import subprocess
from pathlib import Path

from tools.ratchet import Limits, violations

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 600
# Spelled so that this file does not find itself.
PATCHED = re.compile(r"(patch(\.object)?\(\s*['\"]?|monkeypatch\.setattr\(\s*['\"]?)copilot" + r"\b")
REGISTRY = re.compile(
    "|".join(
        (r"pypi\." + "org", r"pythonhosted" + r"\.org", r"registry\.npm" + "js", r"--(extra-)?index" + "-url [a-z]")
    )
)
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|manager)(_|$)")


def tracked(*patterns: str) -> list[Path]:
    """The tree's files; where git cannot tell (an archive of the tree), all that do not lie in a hidden folder."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        found = [p for pattern in patterns or ("**/*",) for p in ROOT.glob(pattern)]
        return [p for p in found if p.is_file() and not any(x.startswith(".") for x in p.relative_to(ROOT).parts[:-1])]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [p for line in listed.stdout.splitlines() if (p := ROOT / line).is_file()]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")


def test_no_python_file_is_longer_than_the_cap() -> None:
    long = {str(p.relative_to(ROOT)): n for p in tracked("*.py") if (n := len(read(p).splitlines())) > MAX_LINES}
    assert long == {}


def test_no_test_patches_our_own_modules() -> None:
    assert [str(p) for p in tracked("tests/*.py", "tests/**/*.py") if PATCHED.search(read(p))] == []


def test_no_file_names_a_registry() -> None:
    text = [p for p in tracked() if p.suffix not in (".png", ".gz", ".woff2")]
    assert [str(p.relative_to(ROOT)) for p in text if REGISTRY.search(read(p))] == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    home = (f"{ROOT}/", f"{Path.home()}/")
    text = [p for p in tracked() if p.suffix not in (".png", ".gz", ".woff2")]
    assert [str(p.relative_to(ROOT)) for p in text if any(h in read(p) for h in home)] == []


def test_modules_are_named_for_what_they_hold() -> None:
    assert [str(p) for p in tracked("src/*.py", "src/**/*.py") if VAGUE.search(p.stem)] == []


def test_the_ratchet_names_what_exceeds_the_limits(tmp_path: Path) -> None:
    for name, lines in (("long.py", 60), ("short.py", 3), ("listed.py", 3), ("__init__.py", 1)):
        (tmp_path / name).write_text("#\n" * lines, encoding="utf-8")
    limits = Limits(lines=66, files=4, max_file_lines=59, min_file_lines=40, short_files=("listed.py", "gone.py"))
    found = list(violations(tmp_path, limits))
    assert [sentence.split(" has ")[0].split(" is ")[0] for sentence in found] == [
        tmp_path.name, "long.py", "short.py", "gone.py"
    ]  # fmt: skip
    assert "67 lines, the limit is 66" in found[0]
    assert list(violations(tmp_path, Limits(lines=67, files=4, max_file_lines=60, min_file_lines=1))) == []
