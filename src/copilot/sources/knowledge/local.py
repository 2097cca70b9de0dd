"""BM25 over a few hundred short texts, with scores between 0 and 1 (docs/adr/0010-knowledge-without-numpy.md)."""

import asyncio
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import copilot
from copilot.explain.model.knowledge import Passage, Retrieved, chosen
from copilot.sources.knowledge.sections import Section, sections, title_of

K1, B = 1.2, 0.75
"""Robertson's usual saturation of repeated words and weight of a text's length."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STOP = re.compile(
    r"an|and|are|as|at|be|been|but|by|can|do|does|for|from|had|has|have|how|if|in|into|is|it|its|no|not|of|on|one|or|so"
    r"|than|that|the|their|them|then|there|these|they|this|to|was|were|what|when|where|which|while|who|why|will|with|you"
    r"|your"
)


def words(text: str) -> list[str]:
    """The words a text is found by: lower case, stemmed, without the commonest. A name such as `maxConns` or
    `max_cached_workflows` counts as itself and as its parts; numbers do not count."""
    found: list[str] = []
    for name in _WORD.findall(text):
        parts = _PART.findall(name)
        if len(parts) > 1:
            found.append(name.lower())
        found.extend(stem(p.lower()) for p in parts if len(p) > 1 and _STOP.fullmatch(p.lower()) is None)
    return found


def stem(word: str) -> str:
    """The word without the commonest English endings: pollers, polling and polls become `poll`."""
    for ending in ("ies", "ings", "ing", "ers", "er", "edly", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            kept = word[: -len(ending)]
            return f"{kept}y" if ending == "ies" else kept.removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


class Index:
    """An index over texts, each given as its words."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._size = len(texts)
        mean = sum(map(len, texts)) / len(texts) if texts else 0.0
        self._held: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, text in enumerate(texts):
            for word, count in Counter(text).items():
                self._held[word].append((number, count / (count + K1 * (1 - B + B * len(text) / mean))))

    def scores(self, question: Sequence[str]) -> list[float]:
        """How well each text fits: its BM25 score over the highest there could be, 0 to 1. A word said twice counts
        twice; one that no text has lowers all scores, so that who asks about something else is not answered."""
        found, highest = [0.0] * self._size, 0.0
        for word, times in Counter(question).items():
            holding = self._held.get(word, ())
            weight = times * math.log(1 + (self._size - len(holding) + 0.5) / (len(holding) + 0.5))
            highest += weight
            for number, saturation in holding:
                found[number] += weight * saturation
        return [score / highest for score in found] if highest else found


LEAST_SCORE = 0.12
"""Below it lie the best passages of questions about something else; those of findings lie above
(`python -m benchmarks retrieval`)."""
MOST_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook to be read. `markdown` is the whole text, its title included."""

    name: str
    title: str
    markdown: str


def shipped_folder() -> Path:
    """Where the runbooks that come with the program lie: in the package, or in the repository it is run from."""
    package = Path(copilot.__file__).resolve().parent
    inside = package / "rag"
    return inside if inside.is_dir() else package.parents[1] / "docs" / "rag"


def files(folder: Path | None = None) -> dict[str, Path]:
    """All runbooks by file name, those of `folder` in place of shipped ones of their name. OSError where a folder
    cannot be read."""
    found: dict[str, Path] = {}
    for place in (shipped_folder(), folder):
        if place is not None:
            found |= {p.name: p for p in sorted(place.iterdir()) if p.suffix == ".md" and p.is_file()}
    return dict(sorted(found.items()))


def runbook(name: str, folder: Path | None = None) -> Runbook | None:
    """The runbook of that name (a finding's, or a guide's, without `.md`); None if there is none. Anything but letters,
    digits, `_` and `-` names none, so a name from outside reaches no other file."""
    if _NAME.fullmatch(name) is None:
        return None
    for place in (folder, shipped_folder()):
        if place is not None and (text := _read(place / f"{name}.md")) is not None:
            return Runbook(name, title_of(text, name), text)
    return None


def _read(path: Path) -> str | None:
    """None where it is not there, no text, or too long to be a runbook."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= MOST_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


class LocalKnowledge:
    """A BM25 index over the runbooks, made anew when a file changes, comes or goes: it is looked at each question."""

    def __init__(self, folder: Path | None = None, least_score: float | None = None) -> None:
        self._folder = folder
        self._least = LEAST_SCORE if least_score is None else least_score
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._sections: list[tuple[str, Section]] = []
        self._index = Index([])

    async def retrieve(self, question: str) -> Retrieved:
        """The sections that fit the question."""
        return await asyncio.to_thread(self._retrieve, question)

    def size(self) -> tuple[int, int]:
        """How many runbooks there are, and how many passages. OSError where a folder cannot be read."""
        self._refresh()
        return len({name for name, _ in self._sections}), len(self._sections)

    def _retrieve(self, question: str) -> Retrieved:
        try:
            places, index = self._refresh()
        except OSError as error:
            return Retrieved(reason=f"the runbooks in {error.filename} cannot be read: {error.strerror}")
        scores = index.scores(words(question))
        found = (_passage(name, section, score) for (name, section), score in zip(places, scores, strict=True))
        return Retrieved(passages=chosen(found, max(self._least, 1e-9)))

    def _refresh(self) -> tuple[list[tuple[str, Section]], Index]:
        paths = files(self._folder)
        stats = [(path, path.stat()) for path in paths.values()]
        seen = tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)
        if seen != self._seen:
            texts = ((name, text) for name, path in paths.items() if (text := _read(path)) is not None)
            self._sections = [(name, s) for name, text in texts for s in sections(text, name.removesuffix(".md"))]
            self._index = Index([_words(s) for _, s in self._sections])
            self._seen = seen
        return self._sections, self._index


def _words(section: Section) -> list[str]:
    """A section is found by its runbook's title as well: counted twice, as it says what all of it is about."""
    return words(f"{section.title}\n{section.title}\n{section.heading}\n{section.text}")


def _passage(name: str, section: Section, score: float) -> Passage:
    title = f"{section.title}: {section.heading}" if section.heading else section.title
    return Passage(source=f"{name}#{section.anchor}", title=title, text=section.text, score=min(score, 1.0))
