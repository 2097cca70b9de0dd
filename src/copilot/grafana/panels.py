"""Core Grafana panels (schema 1 JSON) as plain functions; what they show comes in as targets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

PLUGIN_VERSION = "12.0.0"
COLOURS = {"happy": "#12845a", "stressed": "#f5a800", "critical": "#d1122f", "unknown": "#5a6474"}
"""The states' colours, those of the page."""
LEVELS = {"ok": "#12845a", "low": "#12845a", "degraded": "#f5a800", "moderate": "#f5a800", "warning": "#f5a800",
          "blocked": "#d1122f", "high": "#d1122f"}  # fmt: skip
UNITS = {
    "1/s": "ops", "1/min": "opm", "ms": "ms", "s": "s", "ratio": "percentunit", "percent": "percent", "count": "short",
    "bytes": "bytes", "bool": "bool",
}  # fmt: skip
"""The taxonomy's units as Grafana names them."""


def state_mappings(extra: Mapping[str, str] | None = None) -> list[Json]:
    """Value mappings that colour states, and other words."""
    colours = {**COLOURS, **(extra or {})}
    options = {word: {"color": colour, "index": i} for i, (word, colour) in enumerate(colours.items())}
    return [{"type": "value", "options": options}]


def panel(kind: str, title: str, source: Json, targets: Sequence[Json], **more: Any) -> Json:
    """What all panels have. `more`: further members, such as options and fieldConfig."""
    numbered = [{**target, "refId": chr(ord("A") + i)} for i, target in enumerate(targets)]
    return {
        "type": kind,
        "title": title,
        "datasource": source,
        "pluginVersion": PLUGIN_VERSION,
        "targets": [{"datasource": source, **target} for target in numbered],
        "transparent": not title,
        **more,
    }


def stat(title: str, source: Json, target: Json, **look: Any) -> Json:
    """One value, large. `look`: `defaults` of the field, `options` beside the usual ones, `description`."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": look.get("fields", ""), "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
        "justifyMode": "center",
        **look.get("options", {}),
    }
    return panel(
        "stat", title, source, [target], description=look.get("description", ""), options=options,
        fieldConfig={"defaults": look.get("defaults", {}), "overrides": []},
    )  # fmt: skip


def table(
    title: str, source: Json, targets: Sequence[Json], columns: Mapping[str, Json] | None = None, **more: Any
) -> Json:
    """A table; `columns`: per column's name, the properties it has (`custom.width`, `mappings`, `links`, …)."""
    header = more.pop("header", True)
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": key, "value": value} for key, value in properties.items()],
        }
        for name, properties in (columns or {}).items()
    ]
    return panel(
        "table", title, source, targets,
        options={"showHeader": header, "cellHeight": "sm", "footer": {"show": False}},
        fieldConfig={"defaults": {"custom": {"align": "left", "filterable": header}}, "overrides": overrides},
        **more,
    )  # fmt: skip


def wrapped(width: int | None = None) -> Json:
    """Properties of a column with sentences in it."""
    cell: Json = {"custom.cellOptions": {"type": "auto", "wrapText": True}}
    return cell | ({"custom.width": width} if width else {})


def coloured(width: int, mappings: Sequence[Json]) -> Json:
    """Properties of a column of words whose background says how bad they are."""
    cell = {"type": "color-background", "mode": "basic"}
    return {"custom.cellOptions": cell, "custom.width": width, "mappings": list(mappings)}


def lines(title: str, source: Json, targets: Sequence[Json], unit: str, **more: Any) -> Json:
    """Time series as lines."""
    return panel(
        "timeseries", title, source, targets,
        options={"legend": {"displayMode": "list", "placement": "bottom", "showLegend": len(targets) > 1},
                 "tooltip": {"mode": "multi", "sort": "desc"}},
        fieldConfig={
            "defaults": {
                "unit": UNITS[unit], "min": 0,
                "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False},
            },
            "overrides": [],
        },
        **more,
    )  # fmt: skip


def row(title: str) -> Json:
    """A heading over the panels that follow."""
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def laid_out(rows: Iterable[tuple[int, Sequence[tuple[int, Json]]]]) -> list[Json]:
    """Panels in lines of the 24 columns: for each line its height and its panels with their widths. ValueError where a
    line is wider than the page."""
    placed: list[Json] = []
    y = 0
    for height, cells in rows:
        x = 0
        for width, each in cells:
            if x + width > 24:
                raise ValueError(f"{each['title']!r} reaches column {x + width} of 24")
            placed.append({**each, "id": len(placed) + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
            x += width
        y += height
    return placed


def dashboard(uid: str, title: str, panels: list[Json], variables: Sequence[Json], **more: Any) -> Json:
    """A whole dashboard, refreshed every 30 s, that links to its sisters and keeps time and variables on the way."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["temporal", "temporal-sre-copilot"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m"]},
        "timezone": "utc",
        "links": [
            {"type": "dashboards", "title": "Temporal", "tags": ["temporal-sre-copilot"], "asDropdown": False,
             "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link"},
            *more.pop("links", []),
        ],
        "templating": {"list": list(variables)},
        "annotations": {"list": []},
        "panels": panels,
        **more,
    }  # fmt: skip
