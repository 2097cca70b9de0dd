"""What every store must do with calls of models."""

from typing import Any

from copilot.explain.model.usage import ModelCall, Outcome, Spent
from copilot.store.base import Store
from tests.evaluations import NOON, assessment


def called(after_sec: float, *, cluster: str = "default", **changed: Any) -> ModelCall:
    """A call of a model about the situation f1."""
    fields: dict[str, Any] = {
        "cluster": cluster, "evaluation_id": f"{cluster}@x", "trigger": "scheduled", "agent": "researcher",
        "time": NOON.add(seconds=after_sec), "model": "bedrock:m", "fingerprint": "f1",
        "input_tokens": 1_000, "output_tokens": 500, "cost_usd": 0.04,
    }  # fmt: skip
    return ModelCall(**(fields | changed))


class ModelCallContract:
    """Tests over a `store` fixture, part of StoreContract."""

    async def test_a_call_of_a_model_is_counted_once_and_as_it_ended(self, store: Store) -> None:
        begun = called(0)
        ended = begun.model_copy(
            update={"outcome": Outcome.SERVED, "input_tokens": 900, "answer": '{"a": "\U0001f916"}'}
        )
        failed = called(60, cluster="other", outcome=Outcome.THROTTLED, input_tokens=0, output_tokens=0, cost_usd=0.0)
        for call in (begun, ended, ended, failed):
            await store.save_model_call(call)
        spent = Spent(calls=2, input_tokens=900, output_tokens=500, cost_usd=0.04, unserved=1)
        assert await store.model_spend(NOON) == spent
        assert await store.model_spend(NOON.add(seconds=1)) == Spent(calls=1, unserved=1)
        assert await store.model_spend(NOON.add(hours=1)) == Spent()
        assert await store.settled_call("default", "f1") == ended

    async def test_the_newest_call_that_settled_a_situation_is_found(self, store: Store) -> None:
        outcomes = (Outcome.SERVED, Outcome.REFUSED, Outcome.TIMED_OUT, Outcome.BEGUN)
        calls = [called(60 * n, outcome=outcome) for n, outcome in enumerate(outcomes)]
        for call in calls:
            await store.save_model_call(call)
        assert await store.settled_call("default", "f1") == calls[1]
        assert await store.settled_call("default", "f2") is None
        assert await store.settled_call("other", "f1") is None

    async def test_calls_of_models_are_pruned_a_day_after_the_rest(self, store: Store) -> None:
        await store.save_assessment(assessment())
        for call in (called(-25 * 3600), called(-23 * 3600)):
            await store.save_model_call(call)
        assert (await store.prunable(NOON))["model_calls"] == 1
        assert await store.prune(NOON) == 1
        assert (await store.model_spend(NOON.subtract(hours=48))).calls == 1
