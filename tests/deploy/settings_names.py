"""Which names the environment may give us: what settings.py would make of COPILOT_… names."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from copilot.settings.load import Settings

PREFIX = "COPILOT_"


def known(name: str) -> bool:
    """Whether settings.py has a place for the environment's `name`; names of others are not ours to judge."""
    if not name.startswith(PREFIX):
        return True
    return _leads_somewhere(Settings, name.removeprefix(PREFIX).lower().split("__"))


def _leads_somewhere(model: type[BaseModel], path: list[str]) -> bool:
    field = model.model_fields.get(path[0])
    if field is None:
        return False
    if len(path) == 1:
        return True
    return any(_leads_somewhere(inner, path[1:]) for inner in _models(field.annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from _models(part)
