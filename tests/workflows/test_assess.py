"""However a model fails, the rules' explanation is served, the call is counted, and the workflow ends in time."""

import asyncio
import json
import socket

import pytest
from temporalio.client import Client

from copilot.explain import explained
from copilot.explain.model.usage import Outcome
from tests.agents.answers import SECRET, sound
from tests.agents.model_server import ModelServer, Wire, answers, refuses, says
from tests.fakes.memory_store import MemoryStore, NoLedger
from tests.workflows.assessing import Assessing, judged

# case → what the model does, and the outcome. `quick…`: a quick explanation; the others: a deep one.
WIRES: dict[str, tuple[Wire, Outcome]] = {
    "good": (answers(sound()), Outcome.SERVED),
    "hangs": (Wire(hangs=True), Outcome.TIMED_OUT),
    "drips": (Wire(b'{"id": "' + b"x" * 500, drip_sec=0.05), Outcome.TIMED_OUT),
    "drops": (Wire(drops=True), Outcome.UNAVAILABLE),
    "page": (Wire(b"<html>welcome</html>", kind="text/html"), Outcome.MALFORMED),
    "throttled": (refuses("429 Too Many Requests"), Outcome.THROTTLED),
    "asked_to_wait": (refuses("429 Too Many Requests", "Retry-After: 60", "retry-after-ms: 60000"), Outcome.THROTTLED),
    "overloaded": (refuses("529 Overloaded"), Outcome.UNAVAILABLE),
    "broken": (refuses("500 Internal Server Error"), Outcome.UNAVAILABLE),
    "stranger": (refuses("401 Unauthorized"), Outcome.DENIED),
    "talks": (says("All is well."), Outcome.MALFORMED),
    "cut": (answers(json.dumps(sound())[:200], finish="length"), Outcome.MALFORMED),
    "cuttalk": (says("The cluster has no", finish="length"), Outcome.MALFORMED),
    "cutthought": (says(None, finish="length"), Outcome.MALFORMED),
    "empty": (says(""), Outcome.MALFORMED),
    "nothing": (says(None), Outcome.MALFORMED),
    "tool": (answers({"queue": "orders"}, tool="delete_queue"), Outcome.MALFORMED),
    "filtered": (says(None, finish="content_filter"), Outcome.MALFORMED),
    "nojson": (answers('{"summary": '), Outcome.MALFORMED),
    "field": (answers(sound() | {"health_state": "happy"}), Outcome.MALFORMED),
    "action": (answers(sound(actions=[{"description": "Delete the queue."}])), Outcome.MALFORMED),
    "huge": (answers(sound(why="7 tasks wait. " * 200_000)), Outcome.REFUSED),
    "number": (answers(sound(why="Tasks have waited for 7 hours.")), Outcome.REFUSED),
    "injected": (answers(sound(summary="The cluster is happy, nothing is to be done.")), Outcome.REFUSED),
    "secret": (answers(sound(why=f"The key {SECRET} expired.")), Outcome.REFUSED),
    "quick": (answers({"summary": "No pollers.", "why": "No worker runs."}), Outcome.SERVED),
    "quicklie": (answers({"summary": "No pollers.", "why": "The queue `refunds` is full."}), Outcome.REFUSED),
    "quickhangs": (Wire(hangs=True), Outcome.TIMED_OUT),
    "quicktalks": (says("It depends."), Outcome.MALFORMED),
}
WHY = {
    "hangs": "the model did not answer within",
    "throttled": "the model provider throttles requests (429)",
    "asked_to_wait": "the model provider throttles requests (429)",
    "cut": "the model's answer was cut off at 800 tokens",
    "cuttalk": "the model's answer was cut off at 800 tokens",
    "cutthought": "the model's answer was cut off at 800 tokens",
    "empty": "the model's answer is empty",
    "nothing": "the model's answer is empty",
    "tool": "the model called a tool, and there is none",
    "talks": "the model's answer does not have the required structure",
}
CASES = {name: outcome for name, (_, outcome) in WIRES.items()}


@pytest.mark.servers
async def test_however_a_model_fails_the_rules_explanation_is_served_and_the_call_is_counted(client: Client) -> None:
    server = ModelServer(cases={name: wire for name, (wire, _) in WIRES.items()})
    store = MemoryStore()
    async with server.run():
        patient = Assessing(client, store, base_url=server.url)
        hurried = Assessing(client, store, base_url=server.url, timeout_sec=3)
        async with patient.worker, hurried.worker:
            one = {n: hurried if outcome is Outcome.TIMED_OUT else patient for n, outcome in CASES.items()}
            found = dict(zip(CASES, await asyncio.gather(*(one[n].assess(n) for n in CASES)), strict=True))
    assert {case: made[-1].outcome for case, (_, made, _) in found.items()} == CASES
    for case, (kept, made, took) in found.items():
        rules = explained(judged(case))
        assert took < 30, case
        assert kept.verdict == rules.verdict
        assert all(call.outcome is not Outcome.BEGUN for call in made)
        if CASES[case] is Outcome.SERVED:
            assert (kept.explained_by, kept.explanation_note) == ("model", ""), case
            assert kept.summary.startswith(rules.summary.partition(". ")[0]), case
            assert kept.summary != rules.summary
        else:
            words = {"explained_by", "summary", "narrative", "findings"}
            assert kept.model_dump(include=words) == rules.model_dump(include=words), case
            assert kept.explanation_note.startswith(f"Explained by the rules: {WHY.get(case, '')}"), case
        assert [call.agent for call in made] == ["dispatcher" if case.startswith("quick") else "researcher"], case
        if CASES[case] is Outcome.REFUSED:
            assert made[-1].reasons, case
            assert made[-1].answer, case
        assert SECRET not in json.dumps([call.model_dump(mode="json") for call in made])
    assert SECRET not in json.dumps(server.requests)
    assert found["number"][1][-1].reasons == {"number": 1}


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
            assert (kept.explained_by, kept.narrative) == ("rules", explained(judged("alone")).narrative)
            assert [call.outcome for call in made] == [outcome]
            assert (made[0].input_tokens, made[0].cost_usd) == (0, 0)
            assert kept.explanation_note.startswith("Explained by the rules: ")


@pytest.mark.servers
async def test_while_the_ledger_is_away_the_rules_explain_with_a_note(client: Client) -> None:
    blind = Assessing(client, NoLedger(), base_url="http://127.0.0.1:1/v1")
    async with blind.worker:
        kept, made, _ = await blind.assess("alone")
    assert (kept.explained_by, kept.summary, made) == ("rules", explained(judged("alone")).summary, [])
    assert kept.explanation_note == "Explained by the rules: no model could be called."
