"""docs/configuration.md, written from the settings: `python -m tools.docs.configuration > docs/configuration.md`."""

import inspect
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from copilot.rules.thresholds import Thresholds
from copilot.settings.clusters import ClusterSettings
from copilot.settings.load import Settings
from copilot.settings.notify import NotifySettings
from copilot.settings.sources import Section

INTRODUCTION = """\
# Configuration

Generated from the settings by `make docs`; do not edit. The Copilot reads `copilot.toml` in the working directory, or
the file named by `--config`. Only the clusters are required. Environment variables override the file:
`COPILOT_API__PORT=9000` is `[api] port`; lists and tables are JSON (`COPILOT_CLUSTERS='[{"name": "production", …}]'`).
Configuration is validated at startup; all errors are reported together, with file and key.

The minimum to watch a cluster:

```toml
[[clusters]]
name = "production"
temporal = { address = "temporal.example.com:7233" }
prometheus = { url = "http://prometheus.example.com:9090" }
```

For TLS and API keys of the Copilot's own Temporal and the watched ones, use Temporal's own configuration: a profile in
temporal.toml, named by `profile`, or TEMPORAL_* variables.
"""
THRESHOLDS_NOTE = "The thresholds of the rules: [rules.md](rules.md) lists each with its default.\n"
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


def markdown() -> str:
    """The document."""
    return "\n".join([INTRODUCTION, *_sections(Settings, ())]).rstrip() + "\n"


def _sections(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    below = [(name, inner, several) for name, field in model.model_fields.items()
             for inner, several in [_model_in(field.annotation)] if inner is not None]  # fmt: skip
    inside = {name for name, _, _ in below}
    title = ".".join(path)
    in_clusters = path[:1] == ("clusters",)
    heading = (
        f"`[[{title}]]`" if model in (ClusterSettings, NotifySettings) else f"`[{title}]`" if title else "At the top"
    )
    yield f"## {heading}\n"
    if path and (about := inspect.getdoc(model)):
        yield f"{about}\n"
    if in_clusters and model is Thresholds:
        yield THRESHOLDS_NOTE
        return
    rows = [_row(name, field) for name, field in model.model_fields.items() if name not in inside]
    if rows:
        yield "| key | value | default |\n|---|---|---|"
        yield from rows
        yield ""
    for name, inner, several in below:
        if several and inner not in (ClusterSettings, NotifySettings):
            yield from (line.replace(f"`[{title}.{name}]`", f"`[[{title}.{name}]]`")
                        for line in _sections(inner, (*path, name)))  # fmt: skip
        else:
            yield from _sections(inner, (*path, name))


def _row(name: str, field: FieldInfo) -> str:
    about = f" — {field.description}" if field.description else ""
    return f"| `{field.alias or name}` | {_kind(field.annotation)}{_bounds(field)}{about} | {_default(field)} |"


def _kind(annotation: object) -> str:
    origin, given = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(given[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in given)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_kind(a) for a in given if a is not type(None))
    if origin is tuple:
        return f"list: {_kind(given[0])}"
    if origin is dict:
        return f"table: {_kind(given[0])} → {_kind(given[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "table"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "path",
        SecretStr: "text, secret",
    }
    return names.get(annotation, getattr(annotation, "__name__", "table"))  # type: ignore[call-overload, no-any-return]


def _bounds(field: FieldInfo) -> str:
    said = []
    for rule in (*field.metadata, *_metadata(field.annotation)):
        for part in rule if isinstance(rule, Interval) else (rule,):
            if isinstance(part, Ge | Gt | Le | Lt):
                name = type(part).__name__.lower()
                said.append(_BOUNDS[name].format(f"{getattr(part, name):g}"))
    return f", {' and '.join(said)}" if said else ""


def _metadata(annotation: object) -> tuple[object, ...]:
    found: tuple[object, ...] = ()
    for inner in typing.get_args(annotation):
        if typing.get_origin(inner) is typing.Annotated:
            for rule in typing.get_args(inner)[1:]:
                found += tuple(rule.metadata) if isinstance(rule, FieldInfo) else (rule,)
    return found


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value == () or value == {} or value == "":
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`" if value < 1e6 else f"`{value:.0f}`"
    return f"`{json.dumps(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _model_in(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The section an annotation holds, and whether it holds several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    several = typing.get_origin(annotation) is tuple
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)[0]) is not None and typing.get_origin(annotation) is not dict:
            return found, several
    return None, False


if __name__ == "__main__":
    print(markdown(), end="")
