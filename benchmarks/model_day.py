"""What a day of explanations costs at list prices: 50 changes of state and 288 scheduled assessments, in the
proportions and with the prompts that the lab's recordings give. No model is asked.

Tokens are reckoned as characters over four. Every situation that is asked about at all is taken to go all the way to
the researcher, nothing to come from a cache, and the researcher to use all the words it may. The naive design asks the
researcher's model at every assessment, changed or not, with the evaluation as JSON and all runbooks."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import copilot
from benchmarks import Row
from copilot.explain.model.agent import MOST_TOKENS as SHORT_ANSWER
from copilot.explain.model.agent import RESEARCHER_MOST_TOKENS as LONG_ANSWER
from copilot.explain.model.agent import SCHEMA_CHARACTERS
from copilot.explain.model.build import price_of
from copilot.explain.model.evidence import Passage, evidence
from copilot.explain.model.fingerprint import fingerprint, worth_explaining
from copilot.explain.model.prompt import (
    DISPATCHER_INSTRUCTIONS,
    RESEARCHER_INSTRUCTIONS,
    dispatcher_prompt,
    researcher_prompt,
)
from copilot.explain.model.usage import Price
from copilot.loops.activities.explain import ExplainActivities, ExplainDeps
from copilot.loops.messages import FetchRagContext
from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.settings.models import BEDROCK_DISPATCHER, BEDROCK_RESEARCHER
from copilot.sources.knowledge.local import LocalKnowledge, files
from copilot.sources.recorded import read_recording
from tests.fakes.memory_store import MemoryStore

CHANGES, SCHEDULED, EVERY_SEC = 50, 288, 300.0
PER_TOKEN = 4.0
GOAL_USD = 5.0
DISPATCH_TOKENS = 150
ANSWER_TOKENS = 600
"""350 words and the JSON around them."""
BEFORE = "anthropic:claude-opus-4-1"
"""A model of the prices of 2025."""
RECORDINGS = Path(copilot.__file__).parent / "lab" / "recordings"


@dataclass
class Seen:
    """What the recordings hold: assessments by why they are made, those asked about, and their prompts (tokens)."""

    changes: int = 0
    scheduled: int = 0
    asked_on_change: int = 0
    asked_on_schedule: int = 0
    short: list[float] = field(default_factory=list)
    deep: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def tokens(text: str) -> float:
    """Characters over four."""
    return len(text) / PER_TOKEN


def seen() -> Seen:
    """All recordings, one after the other."""
    found = Seen()
    explaining = ExplainActivities(ExplainDeps(MemoryStore(), LocalKnowledge()))
    for file in sorted(RECORDINGS.glob("*.jsonl.gz")):
        header, ticks = read_recording(file)
        context = Context(cluster=file.stem, interval_sec=header.interval_sec, window_sec=header.window_sec)
        known: set[str] = set()
        last: Evaluation | None = None
        for judged in replay(ticks, context):
            changed = judged.verdict.transition is not None and judged.verdict.transition.before is not None
            due = last is None or (judged.time - last.time).total("seconds") >= EVERY_SEC
            if not changed and not due:
                continue
            last = judged
            asked = worth_explaining(judged) and fingerprint(judged) not in known
            known.add(fingerprint(judged))
            found.changes += changed
            found.scheduled += not changed
            found.asked_on_change += asked and changed
            found.asked_on_schedule += asked and not changed
            found.whole.append(tokens(judged.model_dump_json()))
            if asked:
                _weigh(found, judged, explaining)
    return found


def _weigh(found: Seen, judged: Evaluation, explaining: ExplainActivities) -> None:
    ask = FetchRagContext(evaluation=judged.model_dump(mode="json"), deadline_sec=5.0)
    passages = [Passage.model_validate(p) for p in asyncio.run(explaining.fetch_rag_context(ask)).passages]
    known = evidence(judged, judged.signals.logs, passages, addresses=True)
    around = SCHEMA_CHARACTERS / PER_TOKEN
    found.short.append(around + tokens(DISPATCHER_INSTRUCTIONS + dispatcher_prompt(judged, known)))
    found.deep.append(around + tokens(RESEARCHER_INSTRUCTIONS + researcher_prompt(judged, known, {})))


def _price(model: str) -> Price:
    price = price_of(model)
    if price is None:
        raise LookupError(f"no list price of {model} is known")
    return price


def rows() -> Iterator[Row]:
    """The calculation, step by step."""
    fast, deep = _price(BEDROCK_DISPATCHER), _price(BEDROCK_RESEARCHER)
    found = seen()
    yield Row("dispatcher, US$ per million tokens in", fast.input_usd, "$", note=f"out {fast.output_usd:g}")
    yield Row("researcher, US$ per million tokens in", deep.input_usd, "$", note=f"out {deep.output_usd:g}")
    on_change = CHANGES * found.asked_on_change / found.changes
    on_schedule = SCHEDULED * found.asked_on_schedule / found.scheduled
    note = f"{found.asked_on_change} of {found.changes} in the recordings; the rest went back to well, or was known"
    yield Row(f"asked of {CHANGES} changes of state", on_change, "", note=note)
    note = f"{found.asked_on_schedule} of {found.scheduled}; the rest was well or unchanged"
    yield Row(f"asked of {SCHEDULED} scheduled assessments", on_schedule, "", note=note)
    asked = on_change + on_schedule
    short, long = mean(found.short), mean(found.deep)
    yield Row("one dispatcher prompt", short, "tokens", note=f"longest {max(found.short):.0f}")
    yield Row("one researcher prompt", long, "tokens", note=f"longest {max(found.deep):.0f}; answer {ANSWER_TOKENS}")
    first = asked * fast.of(round(short), DISPATCH_TOKENS)
    second = asked * deep.of(round(long), ANSWER_TOKENS)
    yield Row("dispatching, a day", first, "$")
    yield Row("research, a day", second, "$")
    yield Row("a day", first + second, "$", GOAL_USD)
    most = CHANGES * (fast.of(round(max(found.short)), SHORT_ANSWER) + deep.of(round(max(found.deep)), LONG_ANSWER))
    yield Row("50 changes, prompts and answers at their longest", most, "$", note="daily_usd stops it at 5")
    runbooks = sum(tokens(path.read_text(encoding="utf-8")) for path in files().values())
    whole = mean(found.whole) + runbooks + tokens(RESEARCHER_INSTRUCTIONS)
    naive = (CHANGES + SCHEDULED) * deep.of(round(whole), LONG_ANSWER)
    yield Row("naive: at every assessment", naive, "$", note=f"{whole:.0f} tokens in, {LONG_ANSWER} out, 338 times")
    dear = (CHANGES + SCHEDULED) * _price(BEFORE).of(round(whole), LONG_ANSWER)
    yield Row("naive, at the prices of 2025", dear, "$", note=BEFORE.partition(":")[2])
