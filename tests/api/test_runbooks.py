"""Runbooks, as text and as a piece of a page."""

from dataclasses import replace
from pathlib import Path

import pytest

from copilot.sources.knowledge.runbooks import Runbook, files, sections
from copilot.web.page import runbook_html
from tests.api.conftest import client
from tests.api.standin import deps

HOSTILE = """# A <b>bold</b> title

<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![x](https://evil.example/x.png)
[docs](https://docs.example/) `<i>`
"""


async def test_every_runbook_is_listed_and_read_in_both_forms() -> None:
    async with client(deps()) as api:
        listed = (await api.get("/runbooks")).json()["runbooks"]
        assert [g["name"] + ".md" for g in listed] == list(files())
        for line in listed:
            told = (await api.get(f"/runbooks/{line['name']}")).json()
            assert told["markdown"].startswith(f"# {line['title']}")
            shown = await api.get(f"/runbooks/{line['name']}/fragment")
            assert shown.headers["content-type"] == "text/html; charset=utf-8"
            for section in sections(told["markdown"], line["name"]):
                assert f'id="{section.anchor}"' in shown.text


async def test_ones_own_runbook_stands_in_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "no_pollers.md").write_text("# Ours\n\nCall Bob.\n")
    async with client(replace(deps(), runbooks=tmp_path)) as api:
        assert (await api.get("/runbooks/no_pollers")).json()["markdown"] == "# Ours\n\nCall Bob.\n"


@pytest.mark.parametrize("name", ["no_such", "..%2F..%2FREADME", "%00", "a" * 200, "README.md"])
async def test_an_unknown_runbook_is_an_error(name: str) -> None:
    async with client(deps()) as api:
        for path in (f"/runbooks/{name}", f"/runbooks/{name}/fragment"):
            answer = await api.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] in ("unknown_runbook", "not_found")


def test_html_in_a_runbook_is_shown_and_not_obeyed() -> None:
    shown = runbook_html(Runbook("x", "x", HOSTILE))
    for forbidden in ("<script", "<img", "<b>", "<i>", 'href="javascript'):
        assert forbidden not in shown
    assert '<a href="https://docs.example/" rel="noopener noreferrer">docs</a>' in shown
