"""Every name of ours in any deployment file is one that settings.py reads."""

import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from copilot.settings.load import Settings
from tests.deploy.dockerfile import DEPLOY

NAME = re.compile(r"\bCOPILOT_[A-Z][A-Z0-9_]*")
OF_OTHERS = {"COPILOT_API_URL", "COPILOT_API_TOKEN", "COPILOT_TOKEN"}
"""What Grafana's provisioning asks of its environment, and what `copilot status` shows the API: no settings."""
FILES = [p for p in sorted(DEPLOY.rglob("*")) if p.is_file() and p.suffix not in (".png", ".pyc")]


def known(name: str) -> bool:
    """Whether settings.py has a place for the environment's `name`; names of others are not ours to judge."""
    if not name.startswith("COPILOT_"):
        return True
    return _leads_somewhere(Settings, name.removeprefix("COPILOT_").lower().split("__"))


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


def names() -> dict[str, str]:
    found = [(name, p) for p in FILES for name in NAME.findall(p.read_text(encoding="utf-8"))]
    return {name: str(p.relative_to(DEPLOY)) for name, p in found if not name.endswith("_") and name not in OF_OTHERS}


def test_deployment_files_set_something() -> None:
    assert {"COPILOT_STORE__URL", "COPILOT_CLUSTERS", "COPILOT_TEMPORAL__ADDRESS"} <= set(names())


@pytest.mark.parametrize("name", sorted(names()))
def test_every_environment_name_is_a_setting(name: str) -> None:
    assert known(name), f"{names()[name]} sets {name}, which settings.py does not know"


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("COPILOT_STORE__URL", True), ("COPILOT_CLUSTERS", True), ("COPILOT_KNOWLEDGE__KNOWLEDGE_BASE_ID", True),
     ("COPILOT_STORE__URI", False), ("COPILOT_STORE_URL", False), ("COPILOT_CLUSTERS__NAME", False)],
)  # fmt: skip
def test_what_counts_as_known(name: str, is_known: bool) -> None:
    assert known(name) == is_known
