"""Who may ask, from where, and how that is told."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from copilot.api.auth import holder, new_token, token_hash
from copilot.api.caller import Caller
from copilot.api.serve import tls_context
from copilot.errors import StartError
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import deps
from tests.api.test_status import telling

GRAFANA, ALICE = new_token(), new_token()
ASKING = ApiSettings(tokens={"grafana": token_hash(GRAFANA), "alice": token_hash(ALICE)}, access_log=True)
PAGE = "https://grafana.example.org"


@pytest.mark.parametrize(
    "shown",
    [None, "Bearer", "Bearer wrong", f"Basic {GRAFANA}", "Basic é", f"bearer {ALICE}x"],
    ids=["nothing", "no token", "another", "the wrong scheme", "not ASCII", "one letter more"],
)
async def test_who_shows_no_known_token_learns_nothing(shown: str | None) -> None:
    headers = {b"authorization": shown.encode()} if shown else {}
    async with client(deps(telling()), ASKING) as api:
        for path in ("/", "/status", "/metrics", "/events", "/openapi.json", "/static/base.css", "/nowhere"):
            answer = await api.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "happy" not in answer.text


async def test_each_token_lets_in_as_a_bearer_or_as_a_browsers_password() -> None:
    async with client(deps(telling()), ASKING) as api:
        for token in (GRAFANA, ALICE):
            assert (await api.get("/status", headers={"authorization": f"Bearer {token}"})).status_code == 200
            assert (await api.get("/", auth=("anybody", token))).status_code == 200
        assert (await api.get("/healthz")).status_code == (await api.get("/readyz")).status_code == 200


async def test_metrics_may_be_open_to_all() -> None:
    async with client(deps(telling()), ASKING.model_copy(update={"open_metrics": True})) as api:
        assert (await api.get("/metrics")).status_code == 200
        assert (await api.get("/status")).status_code == 401
        said = (await api.get("/openapi.json", headers={"authorization": f"Bearer {ALICE}"})).json()
    assert said["security"] == [{"bearer": []}, {"password": []}]
    assert {p for p, o in said["paths"].items() if o.get("get", {}).get("security") == []} == {
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip


def test_a_token_is_kept_as_its_hash_and_known_by_it() -> None:
    found = [holder(token, ASKING) for token in (GRAFANA, ALICE, token_hash(ALICE))]
    assert found == [Caller("grafana"), Caller("alice"), None]
    assert GRAFANA not in repr(ASKING)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens": {"grafana": "secret"}}, "copilot token new"),
        ({"tokens": {"a": token_hash("x"), "b": token_hash("x")}}, "share a token"),
        ({"tokens": {"a": token_hash("x")}, "change_tokens": {"b": token_hash("x")}}, "share a token"),
        ({"tokens": {"a": token_hash("x")}, "change_tokens": {"a": token_hash("y")}}, "share a name"),
        ({"change_tokens": {"a": token_hash("x")}}, "beside them: without"),
        ({"cert_file": "a.pem"}, "go together"),
        ({"cors_origins": ["*"]}, "not an origin"),
        ({"cors_origins": ["https://a.example/path"]}, "not an origin"),
        ({"frame_ancestors": ["'self'; script-src *"]}, "not an origin"),
        ({"trusted_proxies": ["*"]}, "not an IP address or network"),
        ({"trusted_proxies": ["proxy.example"]}, "not an IP address or network"),
    ],
)
def test_settings_that_would_let_in_others_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ApiSettings.model_validate(wrong)


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("127.0.0.1:8765", {}, 200),
        ("[::1]:8765", {}, 200),
        ("LOCALHOST", {}, 200),
        ("demo.localhost.", {}, 200),
        ("rebound.evil.example:8765", {}, 421),
        ("127.0.0.1.evil.example", {}, 421),
        ("10.0.0.7", {}, 421),
        ("[::1", {}, 421),
        ("", {}, 421),
        ("copilot.example.org", {"public_url": "https://copilot.example.org:8443/sre"}, 200),
        ("evil.example", {"public_url": "https://copilot.example.org:8443/sre"}, 421),
        ("evil.example", {"host": "0.0.0.0"}, 200),
        ("evil.example", {"tokens": ASKING.tokens}, 401),
    ],
)
async def test_on_loopback_only_our_own_names_are_answered(host: str, settings: dict[str, Any], status: int) -> None:
    async with client(deps(telling()), ApiSettings(**settings)) as api:
        for path in ("/", "/status", "/metrics", "/healthz" if status != 401 else "/events?x"):
            answer = await api.get(path, headers={"host": host})
            assert answer.status_code == status, path
            assert status == 200 or "happy" not in answer.text


async def test_only_configured_pages_may_ask_from_a_browser() -> None:
    settings = ASKING.model_copy(update={"cors_origins": (PAGE,)})
    preflight = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    async with client(deps(telling()), settings) as api:
        may = await api.options("/status", headers={"origin": PAGE, **preflight})
        may_not = await api.options("/status", headers={"origin": "https://evil.example", **preflight})
        known = {"authorization": f"Bearer {ALICE}"}
        ours = await api.get("/status", headers={"origin": PAGE, **known})
        foreign = await api.get("/status", headers={"origin": "https://evil.example", **known})
        refused = await api.get("/status", headers={"origin": PAGE})
    assert (may.status_code, may.headers["access-control-allow-origin"]) == (200, PAGE)
    assert may_not.status_code == 400
    assert "access-control-allow-origin" not in may_not.headers
    assert (ours.headers["access-control-allow-origin"], "origin" in ours.headers["vary"].lower()) == (PAGE, True)
    assert "access-control-allow-origin" not in foreign.headers
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_without_a_setting_no_page_may_ask_or_show_ours() -> None:
    async with client(deps(telling())) as api:
        answer = await api.get("/status", headers={"origin": PAGE})
    assert "access-control-allow-origin" not in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    async with client(deps(telling()), ApiSettings(frame_ancestors=(PAGE,))) as api:
        answer = await api.get("/")
    assert f"frame-ancestors {PAGE}" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("two words", False), ("", False), ("é", False)],
)
async def test_a_request_has_an_id_its_own_where_that_is_sane(given: str, kept: bool) -> None:
    async with client(deps(telling())) as api:
        answer = await api.get("/status?cluster=mars", headers={b"x-request-id": given.encode()})
    named = answer.headers["x-request-id"]
    assert answer.json()["error"]["request_id"] == named
    assert (named == given) is kept
    assert named


async def test_the_access_log_says_who_asked_what_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="copilot.access")
    async with client(deps(telling()), ASKING) as api:
        await api.get("/status", headers={"authorization": f"Bearer {ALICE}", "x-request-id": "r-1"})
        await api.get("/no%0Awhere?token=s")
        await api.get("/x=1,status=200")
    first, second, third = (r for r in caplog.records if r.name == "copilot.access")
    assert "method=GET path=/status status=200 ms=" in first.getMessage()
    assert first.getMessage().endswith("caller=alice request_id=r-1")
    assert vars(first)["status"] == 200
    assert "path=/no%0Awhere status=401" in second.getMessage()
    assert ' path="/x=1,status=200" status=401' in third.getMessage()
    assert ALICE not in caplog.text


def test_files_that_are_no_certificate_are_said_in_one_line(tmp_path: Path) -> None:
    good = trustme.CA().issue_cert("127.0.0.1")
    cert, key, other = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "other.pem"
    good.cert_chain_pems[0].write_to_path(cert)
    good.private_key_pem.write_to_path(key)
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    with pytest.raises(StartError, match=r"cannot read .*absent\.pem: No such file"):
        tls_context(cert, tmp_path / "absent.pem")
    for chosen in ((cert, other), (cert, cert)):
        with pytest.raises(StartError, match=r"cannot serve HTTPS with .* in PEM"):
            tls_context(*chosen)
