"""The labels: what a fair judge expects of the verdict in each scenario. labels.toml changes only by an ADR."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from copilot.errors import CopilotError
from copilot.rules.model import BottleneckClassification, ReportedState
from copilot.rules.signals.readings import Frozen

FILE = Path(__file__).with_name("labels.toml")
CLUSTER_FILE = FILE.with_name("cluster_labels.toml")

Need = Literal["sdk"]


class LabelError(CopilotError):
    """The labels cannot be read, or a scenario has none; the text says which and why."""


class Label(Frozen):
    """The allowed, required and forbidden verdicts of one scenario.

    `states`: allowed once they are due. `never`: forbidden after 120 s of the run. `reaches`: the worst state that must
    be reached before the fault ends. `cause`, `bottleneck`: acceptable ones. `needs`: sources without which cause and
    bottleneck are not judged (`sdk`: the workers' metrics). `not_said`: forbidden advice."""

    states: Annotated[tuple[ReportedState, ...], Field(min_length=1)]
    never: tuple[ReportedState, ...] = ()
    reaches: ReportedState | None = None
    cause: tuple[str, ...] = ()
    bottleneck: tuple[BottleneckClassification, ...] = ()
    needs: tuple[Need, ...] = ()
    not_said: tuple[str, ...] = ()


def read_labels(file: Path = FILE) -> dict[str, Label]:
    """All labels by scenario, in the file's order. LabelError names the file, and the label that is wrong."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabelError(f"{file} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LabelError(f"{file} is not TOML: {error}") from error
    return {name: _label(file, name, table) for name, table in tables.items()}


def _label(file: Path, name: str, table: object) -> Label:
    try:
        return Label.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise LabelError(f"{file}: {place}: {first['msg']}") from error


@cache
def labels() -> dict[str, Label]:
    """The lab's labels by scenario."""
    return read_labels()


@cache
def cluster_labels() -> dict[str, Label]:
    """The labels of the scenarios of six server processes."""
    return read_labels(CLUSTER_FILE)


def label_of(scenario: str) -> Label:
    """The label of that scenario; LabelError if it has none."""
    try:
        return {**cluster_labels(), **labels()}[scenario]
    except KeyError:
        raise LabelError(f"labels.toml has no label for {scenario!r}") from None
