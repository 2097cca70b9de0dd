"""What Grafana's Infinity data source (3.11.1, backend parser) does with a target, as far as ours use it, and what a
panel makes of it: `../shared/reference/real.md` has what the real one was seen to do."""

import re
from typing import Any

import httpx
from whenever import Instant

VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}")
AMONG = re.compile(r"(\w+) IN \(('[^']*'(?:,'[^']*')*)\)")
Row = dict[str, Any]


async def rows(api: httpx.AsyncClient, target: dict[str, Any], variables: dict[str, str]) -> list[Row]:
    """The frame's rows, columns in the order of their names. Raises where a selector finds nothing at all, a value is
    not of its type, or the filter names what is no column."""
    assert (target["type"], target["parser"], target["format"]) == ("json", "backend", "table")
    given = {p["key"]: filled(p["value"], variables) for p in target["url_options"]["params"]}
    answer = await api.get(filled(target["url"], variables), params=given)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if target["root_selector"]:
        found = at(found, target["root_selector"])
    listed = found if isinstance(found, list) else [found]
    columns = sorted(target["columns"], key=lambda c: str(c["text"]))
    frame = [{c["text"]: typed(at(row, c["selector"]), c["type"]) for c in columns} for row in listed]
    return [row for row in frame if passes(row, filled(target["filterExpression"], variables))]


def passes(row: Row, expression: str) -> bool:
    """Whether the filter lets a row through; KeyError where it names what is no column of the frame."""
    if not expression:
        return True
    if (found := AMONG.fullmatch(expression)) is None:
        raise ValueError(f"the stand-in does not know {expression!r}")
    return f"'{row[found.group(1)]}'" in found.group(2).split(",")


def shown(panel: dict[str, Any], frame: list[Row]) -> list[Row]:
    """The rows as the panel shows them: columns where `organize` puts them, the others behind, by name."""
    places: dict[str, int] = {}
    for transformation in panel.get("transformations", ()):
        assert transformation["id"] == "organize", transformation
        places |= transformation["options"]["indexByName"]
    return [dict(sorted(row.items(), key=lambda of: (places.get(of[0], len(row)), of[0]))) for row in frame]


def refused(source: dict[str, Any]) -> str:
    """Why the plugin sends no request at all for a provisioned source; empty if it sends them."""
    plain, secret = source["jsonData"], source["secureJsonData"]
    if plain["auth_method"] == "bearerToken" and not secret.get("bearerToken"):
        return "invalid or empty bearer token detected"
    named = [name for name in plain if name.startswith("httpHeaderName")]
    if (plain["auth_method"] != "none" or named) and not plain.get("allowedHosts"):
        return "configure allowed hosts in the authentication section"
    return ""


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
