"""Who looks at the Copilot meanwhile: answers of /status, /fragment, /status/timeline and /events, all of them kept."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from whenever import Instant

STATUS_EVERY_SEC, PAGE_EVERY_SEC, TIMELINE_EVERY_SEC = 0.2, 1.0, 2.0
AGAIN_SEC = 0.2
SHOWN = re.compile(r'<div class="all" data-state="(\w+)"[^>]*?(?:data-evaluation="([^"]+)")?>')


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict somebody was shown. `at`: when it was asked for, in seconds of the true clock; `stale` None where the
    answer does not say; `degraded_because`: what it says is away."""

    reader: str
    at: float
    tick: int
    state: str
    stale: bool | None = None
    degraded_because: str | None = None


@dataclass
class Readers:
    """All answers so far. `failures` counts what was not answered: the API is killed, too."""

    page: str
    cluster: str
    seen: list[Seen] = field(default_factory=list)
    told: dict[int, set[str]] = field(default_factory=dict)
    answers: int = 0
    failures: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that are neither 200 nor a refused or broken connection."""

    async def run(self) -> None:
        """Read until cancelled."""
        async with (
            httpx.AsyncClient(base_url=self.page, timeout=10, trust_env=False) as api,
            asyncio.TaskGroup() as all_,
        ):
            for number in range(2):
                all_.create_task(self._again(f"status {number}", STATUS_EVERY_SEC, api, self._status))
                all_.create_task(self._again(f"events {number}", AGAIN_SEC, api, self._events))
            all_.create_task(self._again("page", PAGE_EVERY_SEC, api, self._fragment))
            all_.create_task(self._again("timeline", TIMELINE_EVERY_SEC, api, self._timeline))

    async def have_seen(self) -> bool:
        """Whether somebody was shown a verdict."""
        return bool(self.seen)

    async def _again(
        self,
        name: str,
        every_sec: float,
        api: httpx.AsyncClient,
        read: Callable[[str, httpx.AsyncClient], Awaitable[None]],
    ) -> None:
        while True:
            try:
                await read(name, api)
                self.answers += 1
            except httpx.HTTPError:
                self.failures += 1
            await asyncio.sleep(every_sec)

    async def _status(self, name: str, api: httpx.AsyncClient) -> None:
        at = time.time()
        said = self._json(await api.get("/status"))
        if said and said["evaluation_id"]:
            tick = tick_of(said["evaluation_id"])
            self.seen.append(Seen(name, at, tick, said["health_state"], said["stale"], said["degraded_because"]))

    async def _fragment(self, name: str, api: httpx.AsyncClient) -> None:
        at = time.time()
        answer = await api.get("/fragment")
        found = SHOWN.search(answer.text)
        if answer.status_code != httpx.codes.OK or found is None:
            self.wrong.append(f"/fragment {answer.status_code}: {answer.text[:200]}")
        elif found[2]:
            self.seen.append(Seen(name, at, tick_of(found[2]), found[1]))

    async def _timeline(self, _name: str, api: httpx.AsyncClient) -> None:
        said = self._json(await api.get("/status/timeline"))
        for point in said["timeline"] if said else ():
            tick = round(Instant.parse_iso(point["timestamp"]).timestamp())
            self.told.setdefault(tick, set()).add(point["health_state"])

    async def _events(self, name: str, api: httpx.AsyncClient) -> None:
        at = time.time()
        async with api.stream("GET", "/events", timeout=httpx.Timeout(10, read=15)) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    said = json.loads(line.removeprefix("data: "))
                    if said["evaluation_id"]:
                        self.seen.append(
                            Seen(f"{name} from {at}", time.time(), tick_of(said["evaluation_id"]), said["health_state"])
                        )

    def _json(self, answer: httpx.Response) -> dict[str, Any] | None:
        if answer.status_code == httpx.codes.OK:
            said: dict[str, Any] = answer.json()
            return said
        self.wrong.append(f"{answer.request.url.path} {answer.status_code}: {answer.text[:200]}")
        return None


def tick_of(evaluation_id: str) -> int:
    """The moment an evaluation is of, in unix seconds: the end of its id."""
    return int(evaluation_id.rpartition(":")[2])
