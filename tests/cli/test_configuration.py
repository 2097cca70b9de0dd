"""docs/configuration.md is what the settings are, and its example works."""

import re
import tomllib

from copilot.settings.load import Settings
from tests.test_tree import ROOT
from tools.docs.configuration import markdown

DOCUMENT = ROOT / "docs" / "configuration.md"


def test_the_document_is_fresh() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(), "run: make docs"


def test_every_section_and_key_is_there() -> None:
    text = markdown()
    for heading in ("`[temporal]`", "`[[clusters]]`", "`[[clusters.metrics]]`", "`[clusters.prometheus.sigv4]`"):
        assert f"## {heading}\n" in text
    assert "| `interval_sec` | number, ≥ 2 and ≤ 600 | `30` |" in text
    assert "| `url` | text | required |" in text


def test_its_example_is_a_configuration() -> None:
    example = re.search(r"```toml\n(.*?)```", markdown(), re.DOTALL)
    assert example is not None
    settings = Settings(**tomllib.loads(example[1]))
    assert [c.name for c in settings.clusters] == ["production"]
