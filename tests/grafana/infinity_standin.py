"""What the Infinity data source does with a target, as far as ours use it: the answer's rows, their columns by type."""

import re
from typing import Any

import httpx
from whenever import Instant

VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}")


async def rows(api: httpx.AsyncClient, target: dict[str, Any], variables: dict[str, str]) -> list[dict[str, Any]]:
    """The rows a panel would show. Raises where a selector finds nothing at all or a value is not of its type."""
    given = {p["key"]: filled(p["value"], variables) for p in target["url_options"]["params"]}
    answer = await api.get(filled(target["url"], variables), params=given)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if target["root_selector"]:
        found = at(found, target["root_selector"])
    listed = found if isinstance(found, list) else [found]
    return [{c["text"]: typed(at(row, c["selector"]), c["type"]) for c in target["columns"]} for row in listed]


def filled(text: str, variables: dict[str, str]) -> str:
    """The text with its variables; KeyError where one is not known."""
    return VARIABLE.sub(lambda m: variables[m.group(1)], text)


def at(document: Any, path: str) -> Any:
    """What a dotted path leads to; KeyError where it leads nowhere."""
    for name in path.split("."):
        document = document[name]
    return document


def typed(value: Any, kind: str) -> Any:
    """The value as the column's type; ValueError where it is not of it. Null stays null."""
    if value is None:
        return None
    if kind == "timestamp":
        return Instant.parse_iso(value)
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")
        return float(value)
    if isinstance(value, dict | list):
        raise ValueError(f"{value!r} is no text")
    return value
