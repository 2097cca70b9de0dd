"""What a day of explanations costs at list prices: 50 changes of state and 288 scheduled assessments, in the
proportions and with the prompts that the lab's recordings give. No model is called.

Tokens are estimated as characters over four. Rules decide whether a new situation gets a quick or a deep explanation;
nothing comes from a cache, and answers are as long as they may be. The naive design calls the larger model at every
assessment, changed or not, with the evaluation as JSON and all runbooks."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean

from benchmarks import Row
from copilot.explain import explained
from copilot.explain.model.agent import MOST_OUTPUT_TOKENS, OVERHEAD_CHARACTERS
from copilot.explain.model.evidence import evidence
from copilot.explain.model.knowledge import Passage
from copilot.explain.model.prompt import INSTRUCTIONS, prompt
from copilot.explain.model.provider import list_price
from copilot.explain.model.situation import Depth, decide_depth, fingerprint
from copilot.explain.model.usage import Price
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.messages import FetchRagContext
from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.settings.models import BEDROCK_DISPATCHER, BEDROCK_RESEARCHER
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.knowledge.runbooks import files
from copilot.sources.recorded import read_recording
from lab.recorded_run import RECORDINGS
from tests.fakes.memory_store import MemoryStore

CHANGES, SCHEDULED, EVERY_SEC = 50, 288, 300.0
PER_TOKEN = 4.0
GOAL_USD = 5.0
MODELS: dict[Depth, str] = {"quick": BEDROCK_DISPATCHER, "deep": BEDROCK_RESEARCHER}
ANSWER_TOKENS: dict[Depth, int] = {"quick": 150, "deep": 350}
"""60 or 150 words, and the JSON around them."""
BEFORE = "anthropic:claude-opus-4-1"
"""A model at the prices of 2025."""


@dataclass
class Recorded:
    """What the recordings hold: assessments by cause, those that a model explains, and their prompts (tokens)."""

    changes: int = 0
    scheduled: int = 0
    explained_on_change: int = 0
    explained_on_schedule: int = 0
    prompts: dict[Depth, list[float]] = field(default_factory=lambda: {"quick": [], "deep": []})
    whole: list[float] = field(default_factory=list)


def tokens(text: str) -> float:
    """Characters over four."""
    return len(text) / PER_TOKEN


def recorded() -> Recorded:
    """All recordings, one after the other."""
    found = Recorded()
    explaining = ExplainActivities(MemoryStore(), LocalKnowledge())
    for file in sorted(RECORDINGS.glob("*.jsonl.gz")):
        header, ticks = read_recording(file)
        context = Context(cluster=file.stem, interval_sec=header.interval_sec, window_sec=header.window_sec)
        known: set[str] = set()
        last: Evaluation | None = None
        for evaluation in replay(ticks, context):
            transition = evaluation.verdict.transition
            changed = transition is not None and transition.before is not None
            due = last is None or (evaluation.time - last.time).total("seconds") >= EVERY_SEC
            if not changed and not due:
                continue
            last = evaluation
            found.changes += changed
            found.scheduled += not changed
            found.whole.append(tokens(evaluation.model_dump_json()))
            depth = decide_depth(evaluation)
            if depth is None or fingerprint(evaluation) in known:
                continue
            known.add(fingerprint(evaluation))
            found.explained_on_change += changed
            found.explained_on_schedule += not changed
            found.prompts[depth].append(_prompt_tokens(depth, evaluation, explaining))
    return found


def _prompt_tokens(depth: Depth, evaluation: Evaluation, explaining: ExplainActivities) -> float:
    passages: list[Passage] = []
    if depth == "deep":
        ask = FetchRagContext(evaluation=evaluation.model_dump(mode="json"), deadline_sec=5.0)
        passages = [Passage.model_validate(p) for p in asyncio.run(explaining.fetch_rag_context(ask)).passages]
    words = explained(evaluation)
    known = evidence(words, passages, addresses=True)
    return OVERHEAD_CHARACTERS / PER_TOKEN + tokens(INSTRUCTIONS + prompt(depth, words, known, {}))


def _price(model: str) -> Price:
    price = list_price(model)
    if price is None:
        raise LookupError(f"no list price of {model} is known")
    return price


def rows() -> Iterator[Row]:
    """The calculation, step by step."""
    found = recorded()
    for depth, model in MODELS.items():
        price = _price(model)
        yield Row(f"{depth}: US$ per million tokens in", price.input_usd, "$", note=f"out {price.output_usd:g}")
    on_change = CHANGES * found.explained_on_change / found.changes
    on_schedule = SCHEDULED * found.explained_on_schedule / found.scheduled
    note = f"{found.explained_on_change} of {found.changes} in the recordings; the rest recovered or was known"
    yield Row(f"explained, of {CHANGES} changes of state", on_change, "", note=note)
    note = f"{found.explained_on_schedule} of {found.scheduled}; the rest was happy or unchanged"
    yield Row(f"explained, of {SCHEDULED} scheduled assessments", on_schedule, "", note=note)
    count = sum(map(len, found.prompts.values()))
    day = longest = 0.0
    for depth, prompts in found.prompts.items():
        if not prompts:
            continue
        price, share = _price(MODELS[depth]), len(prompts) / count
        note = f"longest {max(prompts):.0f}; answer {ANSWER_TOKENS[depth]}; {100 * share:.0f} % of all"
        yield Row(f"one {depth} prompt", mean(prompts), "tokens", note=note)
        cost = (on_change + on_schedule) * share * price.of(round(mean(prompts)), ANSWER_TOKENS[depth])
        yield Row(f"{depth} explanations, a day", cost, "$")
        day += cost
        longest = max(longest, CHANGES * price.of(round(max(prompts)), MOST_OUTPUT_TOKENS[depth]))
    yield Row("a day", day, "$", GOAL_USD)
    yield Row("50 changes, all deep, prompts and answers at their longest", longest, "$", note="daily_usd caps it at 5")
    deep, answer = _price(MODELS["deep"]), MOST_OUTPUT_TOKENS["deep"]
    runbooks = sum(tokens(path.read_text(encoding="utf-8")) for path in files().values())
    whole = mean(found.whole) + runbooks + tokens(INSTRUCTIONS)
    naive = (CHANGES + SCHEDULED) * deep.of(round(whole), answer)
    yield Row("naive: at every assessment", naive, "$", note=f"{whole:.0f} tokens in, {answer} out, 338 times")
    dear = (CHANGES + SCHEDULED) * _price(BEFORE).of(round(whole), answer)
    yield Row("naive, at the prices of 2025", dear, "$", note=BEFORE.partition(":")[2])
