"""Just enough of the Dockerfile language to judge ours: instructions, one after the other, by build stage."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


@dataclass
class Stage:
    """One FROM with what follows it."""

    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str | None:
        """The words of the last such instruction."""
        return next((words for key, words in reversed(self.instructions) if key == keyword), None)


def stages(text: str) -> dict[str, Stage]:
    """The build stages by name."""
    lines = re.sub(r"\\\n", " ", "\n".join(x for x in text.splitlines() if not x.lstrip().startswith("#"))).splitlines()
    found: dict[str, Stage] = {}
    newest: Stage | None = None
    for line in filter(str.strip, lines):
        key, _, words = line.strip().partition(" ")
        if key == "FROM":
            image, _, name = words.strip().partition(" AS ")
            newest = found[name] = Stage(image, name)
        elif newest is not None:
            newest.instructions.append((key, words.strip()))
    return found


def environment(stage: Stage) -> dict[str, str]:
    """What a stage's ENV instructions set."""
    pairs = (word.partition("=") for key, words in stage.instructions if key == "ENV" for word in words.split())
    return {name: value for name, _, value in pairs}


def words_of(instruction: str) -> list[str]:
    """The words of an instruction in its JSON form."""
    found: list[str] = json.loads(instruction[instruction.index("[") :])
    return found
