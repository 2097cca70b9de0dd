"""A diagnosis as it is printed: fits 80 columns, each reason said once, nothing to guess."""

import io
import re

import pytest
from rich.console import Console

from copilot.cli.doctor import diagnosis_lines
from copilot.cli.output import print_lines, prose_width
from copilot.diagnosis import Check, CheckStatus, Diagnosis, diagnose_cluster
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from tests.cluster_signals import healthy

URL = "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-0a1b2c3d-4e5f-6789-abcd-ef0123456789"
REFUSED = "http://127.0.0.1:9090/metrics: HTTP 403 Forbidden"


def printed(signals: Signals, *checks: Check, width: int = 80, **console: object) -> str:
    out = io.StringIO()
    diagnosis = Diagnosis(own=(), clusters=(diagnose_cluster("night", checks, signals),))
    screen = Console(file=out, width=width, **console)  # type: ignore[arg-type]
    print_lines(screen, diagnosis_lines(diagnosis, prose_width(screen)))
    return out.getvalue()


def lacking(*ids: str, why: Missing | None = None) -> Signals:
    told = why or Missing(code=MissingCode.FORBIDDEN, detail=REFUSED)
    whole = healthy()
    readings = {**whole.readings, **dict.fromkeys(ids)}
    return whole.model_copy(update={"readings": readings, "missing": {**whole.missing, **dict.fromkeys(ids, told)}})


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal_unless_a_word_is(width: int) -> None:
    check = Check(name=f"Prometheus {URL}", status=CheckStatus.FAILED, found="HTTP 403 Forbidden", fix="give " * 40)
    text = printed(lacking("demand.starts_per_sec"), check, width=width)
    assert [line for line in text.splitlines() if len(line) > width and URL not in line] == []
    assert URL in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_every_signal_has_one_row_and_those_without_a_value_a_note_there_is() -> None:
    text = printed(healthy())
    rows = {i: [line for line in text.splitlines() if line.startswith(f"  {i} ")] for i in SPECS}
    assert [i for i, found in rows.items() if len(found) != 1] == []
    numbers = {n for found in rows.values() for n in re.findall(r"\((\d+)\)$", found[0])}
    notes = re.findall(r"^ +\((\d+)\) ", text, re.MULTILINE)
    assert numbers == set(notes)
    assert notes == [str(n) for n in range(1, len(notes) + 1)]
    for spec in SPECS.values():
        if spec.source == "none":
            assert re.search(r"–  \(\d+\)$", rows[spec.id][0])


def test_one_reason_of_many_signals_is_said_once_with_its_remedy() -> None:
    ids = [i for i in SPECS if i.startswith("frontend.") and i != "frontend.reachable"]
    text = " ".join(printed(lacking(*ids)).split())
    assert text.count(REFUSED) == 1
    assert f"(1) {len(ids)} signals ({ids[0]}, {ids[1]}, {ids[2]}, …): {REFUSED} → the checks say what to do" in text
    assert f"{ids[-1]} missing (1)" in text


def test_signals_that_are_absent_for_the_same_want_share_a_note_that_names_each_family() -> None:
    one, other = (f"{n} is not on the server pages" for n in ("service_requests", "service_errors"))
    signals = lacking("frontend.request_rate_per_sec", why=Missing(code=MissingCode.ABSENT, detail=one))
    more = {**signals.missing, "frontend.error_rate_per_sec": Missing(code=MissingCode.ABSENT, detail=other)}
    readings = {**signals.readings, "frontend.error_rate_per_sec": None}
    text = " ".join(printed(signals.model_copy(update={"missing": more, "readings": readings})).split())
    assert f"frontend.error_rate_per_sec, frontend.request_rate_per_sec: {other}; {one} →" in text


def test_coverage_is_said_and_never_rounded_up() -> None:
    assert "Primary signals: coverage 1.00" in printed(healthy())
    assert "Primary signals: coverage 0.98" in printed(lacking("demand.starts_per_sec"))
    assert "Worker signals: none expected" in printed(Signals(time=healthy().time, readings={}))


def test_what_cannot_be_trusted_is_listed_at_the_end() -> None:
    failed = Check(name="server metrics", status=CheckStatus.FAILED, found="HTTP 403 Forbidden")
    assert printed(healthy(), failed).splitlines()[-2:] == [
        "night: a verdict cannot be trusted:",
        "  - server metrics: HTTP 403 Forbidden",
    ]
    assert printed(healthy()).splitlines()[-1] == "night: a verdict can be trusted"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check(name="clocks", status=CheckStatus.OK, found="fine")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok" in printed(healthy(), check, force_terminal=True, color_system="standard")
    assert "\x1b" not in printed(healthy(), check)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(healthy(), check, force_terminal=True, color_system="standard")
