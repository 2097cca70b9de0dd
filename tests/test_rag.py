"""The runbooks as texts: one a finding, true to the server and the SDK they speak of, without queries or numbers that
age."""

import inspect
import mmap
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from temporalio.worker import Worker

from copilot.explain.model.knowledge import promql_in
from copilot.metrics.dialects import DIALECTS, known_names
from copilot.metrics.resolve import leaves_of
from copilot.rules.findings.registry import FINDINGS
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.knowledge.runbooks import runbook, sections

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "rag"
GUIDES = ("worker_scaling", "sticky_cache_tuning", "poller_configuration")
TEXTS = {p.stem: p.read_text(encoding="utf-8") for p in sorted(FOLDER.glob("*.md"))}
HEADINGS = ["Do first", "Symptoms", "Why", "Check", "Do", "Do not", "Sources"]
TEMPORAL = Path(sys.executable).with_name("temporal")

WITH_UNIT = re.compile(
    r"\d\s*(%|‰|ms\b|s\b|sec|min|hours?\b|h\b|d\b|days?\b|weeks?\b|[kMG]i?B\b|rps\b|qps\b|/s)", re.IGNORECASE
)
DATE = re.compile(r"\b(19|20)\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\bv?\d+\.\d+(\.\d+)?\b")
KEY = re.compile(r"`((?:frontend|history|matching|worker|system|limit|internal-frontend)\.[A-Za-z.]+)`")
COMMAND = re.compile(r"^temporal .+$", re.MULTILINE)
PYTHON_OPTION = re.compile(r"^\| Python \|(.+)$|`([a-z]+(?:_[a-z]+)+)` in Python", re.MULTILINE)


def test_every_finding_has_a_runbook_with_what_a_tired_person_looks_for_and_every_other_file_is_a_guide() -> None:
    findings = [f.name for f in FINDINGS]
    assert set(TEXTS) == {*findings, *GUIDES}
    for finding in findings:
        found = runbook(finding)
        assert found is not None
        assert found.markdown.startswith(f"# {found.title}\n\nFinding `{finding}`.")
        assert re.findall(r"^## (.+)$", TEXTS[finding], re.MULTILINE) == HEADINGS, finding


METRICS = {m for d in DIALECTS for m in known_names(d.role, leaves_of(SPECS.values()), []) if "_" in m}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_sources_short_sections_and_no_promql_metric_threshold_or_date(name: str) -> None:
    text = TEXTS[name]
    assert re.search(r"## Sources\n\n(- https://\S+\n)+\Z", text)
    assert max(len(s.text) for s in sections(text, "")) < 2000
    assert promql_in(text) == ""
    assert METRICS & set(re.findall(r"\w+", text)) == set()
    prose = re.sub(r"https://\S+", "", text)
    assert WITH_UNIT.search(prose) is None
    assert DATE.search(prose) is None


@cache
def _help(words: tuple[str, ...]) -> str:
    done = subprocess.run([TEMPORAL, *words, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"temporal {' '.join(words)}: {done.stderr}"
    return done.stdout


def test_every_command_is_one_that_this_temporal_has() -> None:
    general = subprocess.run([TEMPORAL, "options"], capture_output=True, text=True, check=True).stdout
    for command in sorted({c for t in TEXTS.values() for c in COMMAND.findall(t)}):
        words = shlex.split(command)[1:]
        flags = [w for w in words if w.startswith("-")]
        named = tuple(words[: words.index(flags[0])] if flags else words)
        assert f"\n  temporal {' '.join(named)}" in _help(named)
        known = _help(named) + general
        assert [f for f in flags if re.search(rf"{re.escape(f)}\b", known) is None] == [], command


def test_every_dynamic_setting_is_one_that_this_server_knows() -> None:
    keys = {k for t in TEXTS.values() for k in KEY.findall(t)}
    with TEMPORAL.resolve().open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        assert [key for key in sorted(keys) if program.find(key.encode()) < 0] == []


def test_every_option_said_to_be_pythons_is_one_of_its_worker() -> None:
    said = [m for t in TEXTS.values() for m in PYTHON_OPTION.finditer(t)]
    options = {o for m in said for o in (re.findall(r"`(\w+)`", m[1]) if m[1] else [m[2]])}
    assert len(options) > 8
    assert options <= set(inspect.signature(Worker.__init__).parameters)
