"""The built-in page: it draws verdicts and derives no state."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
