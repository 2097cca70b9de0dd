"""docs/explanations.md is what the rules write of the recordings."""

from pathlib import Path

from tools.docs.explanations import document

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "explanations.md"


def test_the_document_is_fresh() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: make docs"
