"""The schemas beside this file, unpacked."""

import gzip
import json
from pathlib import Path
from typing import Any


def schema(name: str) -> dict[str, Any]:
    """The schema of that name."""
    packed = Path(__file__).with_name(f"{name}.json.gz")
    found: dict[str, Any] = json.loads(gzip.decompress(packed.read_bytes()))
    return found
