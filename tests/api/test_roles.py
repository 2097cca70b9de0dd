"""What a caller may do by role, and see by cluster; and that no page of another origin acts through a browser."""

import re
from typing import Any

import httpx
import pytest

from copilot.api.auth import COOKIE, new_token, token_hash
from copilot.api.deps import Deps
from copilot.errors import SettingsError
from copilot.rules.signals.change import Change
from copilot.settings.access import TokenSettings
from copilot.settings.api import ApiSettings
from copilot.settings.load import Settings
from tests.api.conftest import client
from tests.api.standin import ToldLoop, deps
from tests.evaluations import NOON, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore

OURS, THEIRS = "eastern", "western"
ROLES = ("viewer", "operator", "admin")
TOKENS = {name: new_token() for name in (*ROLES, "limited")}
SETTINGS = ApiSettings.model_validate({
    "tokens": {role: {"hash": token_hash(TOKENS[role]), "role": role} for role in ROLES}
    | {"limited": {"hash": token_hash(TOKENS["limited"]), "role": "operator", "clusters": [OURS]}},
    "public_url": "https://copilot.example.org",
})  # fmt: skip
MAY = {"authorization": f"Bearer {TOKENS['limited']}"}


async def both() -> Deps:
    """Two clusters in trouble, with a history and a change each."""
    loop, store = ToldLoop(), MemoryStore()
    for cluster in (OURS, THEIRS):
        loop.tell(evaluation("critical", cluster=cluster))
        for state, minutes in (("happy", 6), ("critical", 5)):
            at = NOON.subtract(minutes=minutes)
            await store.save_snapshots([snapshot(evaluation(state, at, cluster=cluster))])
        await store.save_changes([Change(cluster=cluster, at=at, kind="deploy", text=f"of {cluster}")])
    return deps(loop, store, clusters=(OURS, THEIRS))


@pytest.mark.parametrize(("role", "acts"), [("viewer", False), ("operator", True), ("admin", True)])
async def test_a_viewer_only_reads_and_the_others_act_too(role: str, acts: bool) -> None:
    known = {"authorization": f"Bearer {TOKENS[role]}"}
    change = {"text": "checkout 1.4.2", "cluster": OURS}
    async with client(await both(), SETTINGS) as api:
        stored = await api.post("/changes", json=change, headers=known)
        actions = await api.post("/actions", headers=known)
        assert (stored.status_code, actions.status_code) == ((201, 501) if acts else (403, 403))
        assert acts or "viewer is a viewer and can only read: create a token" in stored.json()["error"]["message"]
        for method in ("GET", "HEAD", "OPTIONS"):
            assert (await api.request(method, "/clusters", headers=known)).status_code != 403
        # An assistant's requests are POSTs that only read; here it is turned off.
        assert (await api.post("/mcp", json={}, headers=known)).status_code in (404, 405)


async def test_who_is_limited_to_a_cluster_never_reads_of_another_in_any_answer() -> None:
    """Another cluster is answered word for word like one that does not exist."""
    async with client(await both(), SETTINGS) as api:
        paths = (await api.get("/openapi.json", headers=MAY)).json()["paths"]
        asked = 0
        for path, operations in [*paths.items(), ("/", {"get": {}}), ("/fragment", {"get": {}})]:
            if "get" not in operations or path == "/events":
                continue
            for cluster in (OURS, None):
                answer = await api.get(_filled(path, OURS), headers=MAY, params=_query(cluster))
                assert answer.status_code == 200, (path, answer.text)
                assert THEIRS not in answer.text, path
                asked += OURS in answer.text
            theirs, nowhere = [
                await api.get(_filled(path, name), headers=MAY, params=_query(name)) for name in (THEIRS, "nowhere")
            ]
            assert theirs.status_code == nowhere.status_code, path
            assert _words(theirs, THEIRS) == _words(nowhere, "nowhere"), path
        assert asked > 20, "almost all routes show a cluster"
        assert (await api.get("/events", headers=MAY, params=_query(THEIRS))).status_code == 404
        assert THEIRS not in (await api.get("/openapi.json", headers=MAY)).text
        told = await api.post("/changes", json={"text": "x", "cluster": THEIRS}, headers=MAY)
        assert told.status_code == 404
        assert (await api.post("/changes", json={"text": "x"}, headers=MAY)).json()["cluster"] == OURS
        everything = await api.get("/clusters", headers={"authorization": f"Bearer {TOKENS['viewer']}"})
    assert THEIRS in everything.text


def _query(cluster: str | None) -> dict[str, str]:
    return {} if cluster is None else {"cluster": cluster}


def _filled(path: str, cluster: str) -> str:
    began = int(NOON.subtract(minutes=5).timestamp())
    values = {"signal_id": "matching.backlog_count", "name": "no_pollers", "incident_id": f"{cluster}:{began}"}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)


def _words(answer: httpx.Response, cluster: str) -> str:
    """The answer without the name that was asked for, the id of the request and numbers."""
    return re.sub(r"[0-9a-f]{16}|[\d.e+-]+", "#", answer.text.replace(cluster, "CLUSTER"))


@pytest.mark.parametrize("settings", [SETTINGS, ApiSettings(public_url=SETTINGS.public_url)], ids=["asks", "open"])
async def test_what_acts_must_come_from_our_own_page(settings: ApiSettings) -> None:
    cookie = {"cookie": f"a=b; {COOKIE}={TOKENS['operator']}"}
    async with client(await both(), settings) as api:
        for sent, status in (
            (cookie, 403),
            (cookie | {"sec-fetch-site": "same-origin"}, 201),
            (cookie | {"sec-fetch-site": "same-site"}, 403),
            (cookie | {"sec-fetch-site": "cross-site", "origin": "http://localhost"}, 403),
            (cookie | {"origin": "http://LOCALHOST"}, 201),
            (cookie | {"origin": "https://copilot.example.org"}, 201),
            (cookie | {"origin": "http://localhost.evil.example"}, 403),
            (cookie | {"origin": "http://localhost:8080"}, 403),
            (cookie | {"origin": "null"}, 403),
            (cookie | {"origin": "http://[::1"}, 403),
            (cookie | {"referer": "http://localhost/?cluster=eastern"}, 201),
            (cookie | {"referer": "https://evil.example/http://localhost/"}, 403),
            ({"cookie": "other=1", **MAY}, 201),
        ):
            answer = await api.post("/changes", json={"text": repr(sent), "cluster": OURS}, headers=sent)
            assert answer.status_code == status, sent
        assert (await api.get("/clusters", headers={**cookie, "sec-fetch-site": "cross-site"})).status_code == 200


def test_tokens_of_unknown_roles_and_clusters_are_refused_at_start() -> None:
    def api(**long_form: Any) -> dict[str, Any]:
        return {"tokens": {"a": {"hash": token_hash("x"), **long_form}}}

    assert ApiSettings.model_validate(api()).tokens["a"] == TokenSettings(hash=token_hash("x"))
    for wrong, said in (
        (api(role="boss"), "'viewer', 'operator' or 'admin'"),
        (api(clusters=[THEIRS]), f"api.tokens.a: there is no cluster {THEIRS}"),
        (api(cluster=OURS), "not permitted"),
        ({"tokens": {"a": {"role": "viewer"}}}, "Field required"),
    ):
        with pytest.raises((SettingsError, ValueError), match=re.escape(said)):
            Settings.model_validate({"api": wrong, "clusters": [{"name": OURS, "temporal": {"address": "t:7233"}}]})
