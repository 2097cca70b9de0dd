"""The built-in page: it draws what was said and derives nothing."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
