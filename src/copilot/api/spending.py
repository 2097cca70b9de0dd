"""What models took today: /models, and the metrics of it. Asked of the store when somebody wants to know."""

import asyncio
from collections.abc import Iterator

from fastapi import APIRouter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from whenever import Instant

from copilot.api.deps import Deps
from copilot.errors import CopilotError
from copilot.explain.model.usage import Spent, day_start

ANSWER_SEC = 2.0
FRESH_SEC = 15.0


class ModelsToday(BaseModel):
    """What all clusters' explanations took since midnight UTC (`since`), and the caps (0: no model is configured).
    `spent` null: the store cannot be asked, `degraded_because` says why."""

    since: Instant
    spent: Spent | None
    daily_usd: float
    daily_tokens: int
    degraded_because: str | None


class Spending:
    """Today's spending as last heard."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._asking = asyncio.Lock()
        self._asked: tuple[Instant, float] | None = None
        self._spent: Spent | None = None
        self._problem: str | None = None

    async def today(self) -> ModelsToday:
        """The newest there is, at most 15 s old and of this day."""
        since, cap = day_start(self._deps.now()), self._deps.model_cap
        async with self._asking:
            if self._asked is None or self._asked[0] != since or self._deps.elapsed() - self._asked[1] > FRESH_SEC:
                self._asked = (since, self._deps.elapsed())
                await self._ask(since)
        return ModelsToday(
            since=since,
            spent=self._spent,
            daily_usd=cap.usd,
            daily_tokens=cap.tokens,
            degraded_because=self._problem,
        )

    async def _ask(self, since: Instant) -> None:
        try:
            async with asyncio.timeout(ANSWER_SEC):
                self._spent, self._problem = await self._deps.store.model_spend(since), None
        except TimeoutError:
            self._spent, self._problem = None, f"the state store did not answer within {ANSWER_SEC:g} s"
        except CopilotError as error:
            self._spent, self._problem = None, str(error)


class SpendingCollector(Collector):
    """The counters begin anew each UTC day, which Prometheus takes for a restart. Left out while nobody knows."""

    def __init__(self) -> None:
        self.known: ModelsToday | None = None

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        if self.known is None or self.known.spent is None:
            return
        spent = self.known.spent
        tokens = CounterMetricFamily(
            "copilot_model_tokens", "Tokens of models since midnight UTC", labels=["direction"]
        )
        tokens.add_metric(["input"], spent.input_tokens)
        tokens.add_metric(["output"], spent.output_tokens)
        yield tokens
        yield CounterMetricFamily("copilot_model_cost_usd", "US$ for models since midnight UTC", value=spent.cost_usd)
        yield CounterMetricFamily("copilot_model_calls", "Calls of models since midnight UTC", value=spent.calls)
        yield CounterMetricFamily(
            "copilot_model_unserved", "Calls whose answer was not served, since midnight UTC", value=spent.unserved
        )
        yield GaugeMetricFamily(
            "copilot_model_daily_cap_usd", "The most a UTC day may cost; 0 without a model", value=self.known.daily_usd
        )


def routes(spending: Spending) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["service"])

    @router.get("/models")
    async def models() -> ModelsToday:
        """What language models took today, and the most they may."""
        return await spending.today()

    return router
