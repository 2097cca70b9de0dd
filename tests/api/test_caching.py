"""Conditional GET, gzip, HEAD."""

import gzip
import json

import pytest

from tests.api.conftest import client
from tests.api.standin import Clock, deps
from tests.api.test_status import telling
from tests.evaluations import NOON, evaluation, in_a_models_words
from tests.fakes.memory_store import MemoryStore
from tests.web.stories import lived

PATHS = ("/status", "/status/services", "/status/issues", "/status/summary", "/status/timeline", "/status/evaluation",
         "/clusters", "/signals/demand.starts_per_sec", "/logs/patterns", "/targets", "/runbooks",
         "/runbooks/no_pollers")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_an_unchanged_answer_is_304(path: str) -> None:
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        first = await api.get(path)
        tag = first.headers["etag"]
        clock.now, clock.ran = clock.now.add(seconds=2), 2
        for shown in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            again = await api.get(path, headers={"if-none-match": shown})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await api.get(path, headers={"if-none-match": '"x"'})).status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


async def test_the_tag_changes_with_the_verdict_and_not_with_its_age() -> None:
    loop, store, clock = telling("happy"), MemoryStore(), Clock()
    tags = []
    async with client(deps(loop, store, clock)) as api:

        async def read() -> tuple[float | None, str]:
            answer = await api.get("/status")
            tags.append(answer.headers["etag"])
            return answer.json()["age_sec"], answer.json()["health_state"]

        assert await read() == (0, "happy")
        clock.now = NOON.add(seconds=20)
        assert await read() == (20, "happy")
        clock.now = NOON.add(seconds=50)
        assert await read() == (50, "happy")
        clock.now = NOON.add(seconds=100)
        assert await read() == (100, "unknown")
    assert tags[0] == tags[1]
    assert len(set(tags)) == 3


async def test_a_later_assessment_of_the_same_tick_is_a_new_answer() -> None:
    store = MemoryStore()
    async with client(deps(telling("stressed"), store)) as api:
        before = await api.get("/status")
        await store.save_assessment(in_a_models_words("Longer words.", "stressed"))
        live = api._transport.app.state.live  # type: ignore[attr-defined]
        await live.refresh("default")
        after = await api.get("/status", headers={"if-none-match": before.headers["etag"]})
    assert (after.status_code, after.json()["summary"]) == (200, "Longer words.")


async def test_a_long_answer_is_gzipped_under_the_same_tag() -> None:
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        async with api.stream("GET", "/status/timeline", headers={"accept-encoding": "br;q=1, gzip;q=0.5"}) as packed:
            raw = b"".join([part async for part in packed.aiter_raw()])
        plain = await api.get("/status/timeline", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw)) == plain.json()
    assert "content-encoding" not in plain.headers
    assert packed.headers["etag"] == plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", [*PATHS, "/", "/healthz", "/metrics", "/openapi.json", "/static/base.css"])
async def test_head_is_get_without_its_body(path: str) -> None:
    async with client(deps(telling("stressed"))) as api:
        head, get = await api.head(path), await api.get(path)
    assert (head.status_code, head.content) == (200, b"")
    # What the process says of itself in /metrics has grown by the second answer.
    for name in ("content-type", "etag", *(("content-length",) if path != "/metrics" else ())):
        assert head.headers.get(name) == get.headers.get(name)


async def test_head_of_what_never_ends_and_of_nothing_is_refused() -> None:
    async with client(deps(telling())) as api:
        assert (await api.head("/events")).status_code == 405
        assert (await api.head("/nowhere")).status_code == 404


async def test_of_several_clusters_the_worst_comes_first_and_the_stale_before_the_fresh() -> None:
    loop = telling("happy")
    names = ("default", "old", "bad", "never", "worse")
    for name, state, ago in (("old", "happy", 50), ("bad", "stressed", 0), ("worse", "critical", 0)):
        loop.tell(evaluation(state, NOON.subtract(seconds=ago), cluster=name))
    async with client(deps(loop, clusters=names)) as api:
        told = (await api.get("/clusters")).json()["clusters"]
    assert [c["cluster"] for c in told] == ["worse", "never", "bad", "old", "default"]
