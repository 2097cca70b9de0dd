"""Full-text search over the runbooks by SQLite's FTS5, with scores between 0 and 1 (docs/adr/0010)."""

import asyncio
import math
import re
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from copilot.explain.model.knowledge import Passage, Retrieved, chosen
from copilot.sources.knowledge.runbooks import Section, files, other_words, read_text, sections

LEAST_SCORE = 0.22
"""Above the best passages for questions about something else, below those for findings
(`python -m benchmarks retrieval`)."""

TITLE_WEIGHT = 2.0
"""A word in the title counts twice: it names the subject of the whole runbook."""
_MEANINGS = {
    "database": "db postgres postgresql mysql cassandra sqlite rds aurora dsql datastore store persistence sql",
    "process": "pod host node replica instance container member machine",
    "down": "dead died dies dying gone offline crash crashed crashes killed stopped stops lost unavailable unreachable "
    "missing disappeared away",
    "slow": "slowly latency latencies late delayed delay long lag lags overloaded seconds",
    "fail": "fails failed failing failure failures error errors exception exceptions throws broken panic panics",
    "refused": "refuse refuses rejected rejects throttled throttle throttles throttling exceeded denied exhausted",
    "many": "huge spike flood burst sudden mass bulk storm",
    "stuck": "hang hangs hanging frozen freezes zombie silent silently blocked",
    "limit": "limits quota cap capped maximum max",
    "full": "saturated occupied occupy taken capacity busy used",
    "release": "deploy deployed deploys deployment released rollout rolled upgrade upgraded",
    "restart": "restarts restarted flap flaps flapping loop",
    "none": "no nobody nothing zero without",
    "old": "stale leftover forgotten abandoned behind unused decommissioned",
    "request": "api requests call calls grpc",
    "drain": "drains draining shrinks shrink falls recover recovers recovering recovered",
    "metric": "metrics scrape scraped scrapes exporter prometheus grafana dashboard panels",
}
_MEANING = {word: f"meaning_{name}" for name, same in _MEANINGS.items() for word in (name, *same.split())}
"""What some words mean alike: people say pod, host or instance. A word counts as itself and by its meaning."""
_SATURATION = 1.2 + 1
"""The most one word can add to FTS5's bm25(), in units of its weight: k1 + 1."""
_RANK = "SELECT rowid, -bm25(texts, ?2) FROM texts WHERE texts MATCH ?1"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STOP = re.compile(
    r"an|and|are|as|at|be|because|been|but|by|can|do|does|for|from|had|has|have|how|if|in|into|is|it|its|known|last"
    r"|longer|may|most|not|of|on|one|only|or|so|than|that|the|their|them|then|there|these|they|this|to|was|were|what"
    r"|when|where|which|while|who|why|will|with|you|your"
)


def words(text: str) -> list[str]:
    """The words to search by: lower case, without the most common ones and without numbers. A name such as `maxConns`
    or `max_cached_workflows` counts as itself and as its parts, and words of like meaning count as alike too."""
    found: list[str] = []
    for name in _WORD.findall(text):
        parts = _PART.findall(name)
        if len(parts) > 1:
            found.append(name.lower())
        found.extend(p.lower() for p in parts if len(p) > 1 and not _STOP.fullmatch(p.lower()))
    return [each for word in found for each in (word, _MEANING.get(word)) if each]


class Index:
    """A full-text index in memory over (title, text), with words stemmed by FTS5's Porter tokenizer. Thread-safe."""

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        self._size = len(texts)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._db.close)
        tokenizer = "porter ascii tokenchars '_'"
        self._db.execute(f'CREATE VIRTUAL TABLE texts USING fts5(title, text, tokenize = "{tokenizer}")')
        rows = ((n, " ".join(words(title)), " ".join(words(text))) for n, (title, text) in enumerate(texts))
        self._db.executemany("INSERT INTO texts (rowid, title, text) VALUES (?, ?, ?)", rows)

    def scores(self, question: str) -> list[float]:
        """How well each text fits, 0 to 1: its BM25 score over the highest possible one for the question. A word that
        occurs twice counts twice; a word that is in no text lowers all scores, so that a question about something else
        finds nothing."""
        asked = words(question)
        scores = [0.0] * self._size
        with self._lock:
            if highest := sum(map(self._weight, asked)) * _SATURATION:
                # Quoted, a word is never FTS5's syntax.
                match = " OR ".join(f'"{word}"' for word in asked)
                for number, score in self._db.execute(_RANK, (match, TITLE_WEIGHT)):
                    scores[number] = min(score / highest, 1.0)
        return scores

    def _weight(self, word: str) -> float:
        """The inverse document frequency, as bm25() has it."""
        query = "SELECT count(*) FROM texts WHERE texts MATCH ?"
        (holding,) = self._db.execute(query, (f'"{word}"',)).fetchone()
        return max(math.log((self._size - holding + 0.5) / (holding + 0.5)), 1e-6) if self._size else 0.0


class LocalKnowledge:
    """An index over the runbooks, rebuilt when a file changes, appears or disappears; every question checks that."""

    def __init__(self, folder: Path | None = None, least_score: float | None = None) -> None:
        self._folder = folder
        self._least = LEAST_SCORE if least_score is None else least_score
        self._stats: tuple[tuple[str, int, int], ...] | None = None
        self._sections: list[tuple[str, Section]] = []
        self._index = Index([])
        self._described: list[str] = []
        self._descriptions = Index([])

    async def retrieve(self, question: str) -> Retrieved:
        """The sections that fit the question."""
        return await asyncio.to_thread(self._retrieve, question)

    def size(self) -> tuple[int, int]:
        """How many runbooks there are, and how many passages. OSError where a folder cannot be read."""
        self._refresh()
        return len({name for name, _ in self._sections}), len(self._sections)

    def _retrieve(self, question: str) -> Retrieved:
        try:
            self._refresh()
        except OSError as error:
            return Retrieved(reason=f"the runbooks in {error.filename} cannot be read: {error.strerror}")
        also: dict[str, float] = {}
        for name, score in zip(self._described, self._descriptions.scores(question), strict=True):
            also[name] = max(score, also.get(name, 0.0))
        scores = zip(self._sections, self._index.scores(question), strict=True)
        passages = (_passage(*place, 1 - (1 - score) * (1 - also.get(place[0], 0.0))) for place, score in scores)
        return Retrieved(passages=chosen(passages, max(self._least, 1e-9)))

    def _refresh(self) -> None:
        paths = files(self._folder)
        stats = tuple((str(path), (s := path.stat()).st_mtime_ns, s.st_size) for path in paths.values())
        if stats != self._stats:
            texts = [(name, text) for name, path in paths.items() if (text := read_text(path)) is not None]
            self._sections = [(name, s) for name, text in texts for s in sections(text, name.removesuffix(".md"))]
            self._index = Index([(s.title, f"{s.heading}\n{s.text}") for _, s in self._sections])
            described = [(name, also) for name, text in texts for also in other_words(text)]
            self._described = [name for name, _ in described]
            self._descriptions = Index([("", also) for _, also in described])
            self._stats = stats


def _passage(name: str, section: Section, score: float) -> Passage:
    title = f"{section.title}: {section.heading}" if section.heading else section.title
    return Passage(source=f"{name}#{section.anchor}", title=title, text=section.text, score=score)
