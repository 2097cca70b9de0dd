"""However a model fails, the rules' words are served, it is counted, and nobody waits."""

import asyncio
import json
import socket
from typing import Any

import pytest
from temporalio.client import Client
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain.model.usage import Outcome, Spent
from tests.agents.answers import SECRET, sound, told
from tests.agents.model_server import NOT_NEEDED, ModelServer, Wire, calls, refuses, says
from tests.fakes.memory_store import MemoryStore
from tests.workflows.assessing import Assessing, judged

# case → what the researcher's model does, and what is to come of it.
RESEARCH: dict[str, tuple[Wire, Outcome]] = {
    "good": (calls("final_result", told(sound())), Outcome.SERVED),
    "hangs": (Wire(hangs=True), Outcome.TIMED_OUT),
    "drips": (Wire(b'{"id": "' + b"x" * 500, drip_sec=0.05), Outcome.TIMED_OUT),
    "drops": (Wire(drops=True), Outcome.UNAVAILABLE),
    "garbage": (Wire(b"\x00\xff\x00nope"), Outcome.UNAVAILABLE),
    "page": (Wire(b"<html>welcome</html>", kind="text/html"), Outcome.MALFORMED),
    "throttled": (refuses("429 Too Many Requests"), Outcome.THROTTLED),
    "overloaded": (refuses("529 Overloaded"), Outcome.UNAVAILABLE),
    "broken": (refuses("500 Internal Server Error"), Outcome.UNAVAILABLE),
    "stranger": (refuses("401 Unauthorized"), Outcome.DENIED),
    "talks": (says("All is well."), Outcome.MALFORMED),
    "nojson": (calls("final_result", '{"summary": '), Outcome.MALFORMED),
    "other": (calls("final_result", {"text": "All is well."}), Outcome.MALFORMED),
    "huge": (calls("final_result", told(sound(summary="Tasks wait. " * 200_000))), Outcome.REFUSED),
    "field": (calls("final_result", told(sound()) | {"health_state": "happy"}), Outcome.MALFORMED),
    "state": (calls("final_result", told(sound(summary="The cluster is happy."))), Outcome.REFUSED),
    "number": (calls("final_result", told(sound(narrative__why="Tasks have waited for 7 hours."))), Outcome.REFUSED),
    "invented": (calls("final_result", told(sound(narrative__why="The queue refunds-v2 is full."))), Outcome.REFUSED),
    "injected": (
        calls("final_result", told(sound(summary="The cluster is happy, nothing is to be done."))),
        Outcome.REFUSED,
    ),
    "secret": (calls("final_result", told(sound(narrative__why=f"The key {SECRET} expired."))), Outcome.REFUSED),
    "wipes": (calls("final_result", told(sound(narrative__watch_next="Delete the task queue."))), Outcome.REFUSED),
}
QUICK: dict[str, Any] = {"summary": "Nobody polls orders.", "why": "No worker runs.", "meaning": "Orders stand still."}
DISPATCH: dict[str, tuple[Wire, Outcome]] = {
    "dhangs": (Wire(hangs=True), Outcome.TIMED_OUT),
    "dbroken": (refuses("500 Internal Server Error"), Outcome.UNAVAILABLE),
    "dtalks": (says("It depends."), Outcome.MALFORMED),
    "quick": (calls("final_result_QuickExplanation", {**QUICK, "confidence": 0.7}), Outcome.SERVED),
    "quicklie": (calls("final_result_QuickExplanation", {**QUICK, "confidence": 7}), Outcome.REFUSED),
    "enough": (NOT_NEEDED, Outcome.NOT_NEEDED),
}
CASES = {name: outcome for name, (_, outcome) in (RESEARCH | DISPATCH).items()}


@pytest.mark.servers
async def test_however_a_model_fails_the_rules_words_are_served_and_it_is_counted(client: Client) -> None:
    server = ModelServer()
    server.researched = {name: wire for name, (wire, _) in RESEARCH.items()}
    server.dispatched = {name: wire for name, (wire, _) in DISPATCH.items()}
    store = MemoryStore()
    async with server.run():
        patient = Assessing(client, store, base_url=server.url)
        hurried = Assessing(client, store, base_url=server.url, timeout_sec=3)
        async with patient.worker, hurried.worker:
            one = {n: hurried if outcome is Outcome.TIMED_OUT else patient for n, outcome in CASES.items()}
            found = dict(zip(CASES, await asyncio.gather(*(one[n].assess(n) for n in CASES)), strict=True))
    assert {case: made[-1].outcome for case, (_, made, _) in found.items()} == CASES
    for case, (kept, made, took) in found.items():
        rules = judged(case)
        assert took < 30, case
        assert kept.verdict == rules.verdict
        assert all(call.outcome is not Outcome.BEGUN for call in made)
        if CASES[case] is Outcome.SERVED:
            assert (kept.explained_by, kept.explanation_note) == ("model", ""), case
            assert kept.summary.startswith("Nothing is served on task queue orders: 1,204 tasks wait"), case
            assert kept.summary != rules.summary
        else:
            words = {"explained_by", "summary", "narrative", "findings"}
            assert kept.model_dump(include=words) == rules.model_dump(include=words), case
            assert bool(kept.explanation_note) is (CASES[case] is not Outcome.NOT_NEEDED), case
        if CASES[case] is Outcome.REFUSED:
            assert made[-1].reasons, case
            assert made[-1].answer, case
        assert SECRET not in json.dumps([call.model_dump(mode="json") for call in made])
    assert SECRET not in json.dumps(server.asked)
    assert found["state"][1][-1].reasons == {"state": 1}
    assert found["number"][0].explanation_note.startswith("The model's answer failed a check (number)")


@pytest.mark.servers
async def test_a_model_that_is_not_there_or_too_dear_changes_nothing(client: Client) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    away = Assessing(client, MemoryStore(), base_url=nobody, timeout_sec=4)
    dear = Assessing(client, MemoryStore(), base_url=nobody, timeout_sec=4, daily_usd=0.0001)
    async with away.worker, dear.worker:
        for one, outcome in ((away, Outcome.UNAVAILABLE), (dear, Outcome.OVER_BUDGET)):
            kept, made, _ = await one.assess("alone")
            assert (kept.explained_by, kept.narrative) == ("rules", judged("alone").narrative)
            assert [call.outcome for call in made] == [outcome]
            assert (made[0].input_tokens, made[0].cost_usd) == (0, 0)
            assert kept.explanation_note.endswith("the rules' words.")


class NoLedger(MemoryStore):
    """A store that cannot say what was spent."""

    async def model_spend(self, since: Instant) -> Spent:  # noqa: ARG002
        raise StoreError("the state store is away")


@pytest.mark.servers
async def test_where_nobody_knows_what_was_spent_the_rules_stand_and_say_so(client: Client) -> None:
    blind = Assessing(client, NoLedger(), base_url="http://127.0.0.1:1/v1")
    async with blind.worker:
        kept, made, _ = await blind.assess("alone")
    assert (kept.explained_by, kept.summary, made) == ("rules", judged("alone").summary, [])
    assert kept.explanation_note == "No model could be asked: the rules' words."
