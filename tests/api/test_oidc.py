"""Logging in with an identity provider: a real one, and one that forges what can be forged."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from whenever import Instant

from copilot.api.app import create_app
from copilot.api.auth import SESSION, new_token, token_hash
from copilot.api.caller import Caller
from copilot.api.routes_login import LOGIN, name_of
from copilot.api.sessions import Sessions
from copilot.errors import SettingsError
from copilot.settings.access import Role
from copilot.settings.api import ApiSettings
from copilot.settings.oidc import OidcSettings
from tests.api.conftest import client
from tests.api.standin import Clock, deps
from tests.api.test_status import telling
from tests.evaluations import NOON
from tests.fakes.oidc import CLIENT, SECRET, ForgingProvider, forged, forging_provider, new_key, signed

HOME = "https://copilot.example.org"
TOKEN = new_token()
ROLES = {"sre": "operator", "everyone": "viewer"}
GROUPS = {"groups": ["everyone"], "preferred_username": "ada"}
KEY = "a key of several API processes, and long"


def settings(issuer: str, **more: Any) -> ApiSettings:
    """A provider beside a token."""
    oidc = {"issuer": issuer, "client_id": CLIENT, "client_secret": SECRET, "roles": ROLES, "session_key": KEY, **more}
    return ApiSettings.model_validate({"public_url": HOME, "tokens": {"me": token_hash(TOKEN)}, "oidc": oidc})


@dataclass
class Here:
    """An API beside its provider."""

    api: httpx.AsyncClient
    provider: ForgingProvider
    clock: Clock

    async def log_in(self, **claims: Any) -> httpx.Response:
        """A login to its end, whatever that is."""
        self.api.cookies.clear()
        self.provider.claims = GROUPS | claims
        return await self.api.get(self.provider.log_in(await self.begin()))

    async def begin(self, target: str = "/status") -> str:
        """Where a login leads to."""
        begun = await self.api.get("/login/oidc", params={"next": target})
        assert begun.status_code == 303, begun.text
        return begun.headers["location"]


@asynccontextmanager
async def here(**more: Any) -> AsyncIterator[Here]:
    clock = Clock()
    async with (
        forging_provider(lambda: int(clock().timestamp())) as provider,
        client(deps(telling(), clock=clock), settings(provider.issuer, **more)) as api,
    ):
        api.base_url = HOME
        yield Here(api, provider, clock)


def told(answer: httpx.Response) -> str:
    """What the login page says is wrong."""
    return " ".join(re.findall(r'role="alert">(.*?)</p>', answer.text))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # The provider's own.
async def test_a_person_logs_in_with_a_real_provider_and_out_of_it() -> None:
    import oidc_provider_mock as real  # type: ignore[import-untyped]

    ada = real.User(sub="ada", claims={"preferred_username": "ada", "groups": ["sre", "x"]})
    with await asyncio.to_thread(real.run_server_in_thread, user_claims=[ada]) as running:
        issuer = f"http://localhost:{running.server_port}"
        over = deps(telling(), clock=Clock(Instant.now()))
        async with client(over, settings(issuer)) as api, httpx.AsyncClient() as browser:
            api.base_url = HOME
            page = await api.get("/login?next=%2Fstatus")
            begun = await api.get(re.findall(r'href="(\S+/login/oidc\S+)"', page.text)[0])
            sent_back = await browser.post(begun.headers["location"], data={"sub": "ada"})
            done = await api.get(sent_back.headers["location"])
            assert (done.status_code, done.headers["location"]) == (303, "/status"), told(done)
            assert (await api.get("/status")).status_code == 200
            own = {"sec-fetch-site": "same-origin"}
            stored = await api.post("/changes", json={"text": "x", "at": Instant.now().timestamp()}, headers=own)
            assert (stored.status_code, stored.json()["who"]) == (201, "ada")
            out = await api.post("/logout", headers=own)
            assert out.headers["location"].startswith(f"{issuer}/oauth2/end_session?client_id={CLIENT}&post_logout")
            assert (await browser.get(out.headers["location"])).status_code == 200
            assert (await api.get("/status")).status_code == 401
    assert "Log in with localhost:" in page.text
    assert 'name="token"' in page.text
    assert f"form-action 'self' {issuer};" in page.headers["content-security-policy"]


async def test_forged_id_tokens_let_nobody_in() -> None:
    now = int(NOON.timestamp())
    async with here() as at:
        own = at.provider.keys[0]
        public = own.as_pem(private=False)
        cases: list[tuple[dict[str, Any], Any, str]] = [
            ({"iss": "https://evil.example"}, None, "(iss)"),
            ({"aud": "another"}, None, "(aud)"),
            ({"aud": [CLIENT, "another"]}, None, "(azp)"),
            ({"aud": [CLIENT, "another"], "azp": "another"}, None, "(azp)"),
            ({"nonce": "of another login"}, None, "(nonce)"),
            ({"exp": now - 61}, None, "(exp)"),
            ({"iat": now + 61}, None, "(iat)"),
            ({"nbf": now + 61}, None, "(nbf)"),
            *[({name: None}, None, f"({name})") for name in ("iss", "aud", "nonce", "exp", "iat", "sub")],
            ({}, forged("none", None), "unsupported_algorithm"),
            ({}, forged("None", "one"), "unsupported_algorithm"),
            ({}, forged("HS256", "one", public), "unsupported_algorithm"),
            ({}, forged("HS256", None, SECRET.encode()), "unsupported_algorithm"),
            ({}, signed(new_key("one")), "bad_signature"),
            ({}, signed(new_key("unknown")), "invalid_key_id"),
            ({}, lambda _: "no.token", "not valid"),
            ({"groups": ["others"]}, None, "ada has no role here, with groups"),
            ({"groups": []}, None, "the provider sent no groups"),
            ({"groups": {"sre": 1}}, None, "ada has no role here"),
        ]
        for claims, sign, said in cases:
            at.provider.sign = sign
            answer = await at.log_in(**claims)
            assert (answer.status_code, said in told(answer)) == (403, True), (claims, said, answer.text)
            assert SESSION not in at.api.cookies
        at.provider.sign = None
        for claims in ({}, {"aud": [CLIENT]}, {"exp": now - 59}, {"iat": now + 59}, {"azp": CLIENT}):
            assert (await at.log_in(**claims)).status_code == 303, claims


async def test_a_login_ends_where_it_was_begun_and_only_once() -> None:
    async with here() as at:
        back = at.provider.log_in(await at.begin("//evil.example"))
        own = at.api.cookies[LOGIN]
        at.provider.claims = GROUPS
        for wrong, cookie, said in (
            (back, None, "in another browser"),
            (back, "x" + own, "in another browser"),
            (re.sub("state=[^&]*", "state=x", back), own, "in another browser"),
            (re.sub("iss=[^&]*", "iss=https%3A%2F%2Fevil", back), own, "another provider"),
            (re.sub("code=[^&]*", "error=access_denied", back), own, "refused the login: access_denied"),
            (re.sub("code=[^&]*", "code=guessed", back), own, "refused the login: invalid_grant"),
        ):
            at.api.cookies.clear()
            answer = await at.api.get(wrong, headers={} if cookie is None else {"cookie": f"{LOGIN}={cookie}"})
            assert (answer.status_code, said in told(answer)) == (403, True), answer.text
        done = await at.api.get(back, headers={"cookie": f"{LOGIN}={own}"})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        flags = {flag.strip().lower() for flag in done.headers.get_list("set-cookie")[0].split(";")[1:]}
        assert flags == {"httponly", "max-age=28800", "path=/", "samesite=lax", "secure"}
        again = await at.api.get(back, headers={"cookie": f"{LOGIN}={own}"})
        assert "invalid_grant" in told(again)
        as_session = await at.api.get("/status", headers={"cookie": f"{SESSION}={own}"})
        assert as_session.status_code == 401
        later = at.provider.log_in(await at.begin())
        at.clock.now = NOON.add(minutes=11)
        assert "more than ten minutes ago" in told(await at.api.get(later))


async def test_a_session_has_a_role_and_an_end_and_is_known_to_every_process_with_the_key() -> None:
    own = {"sec-fetch-site": "same-origin"}
    async with here() as at:
        for groups, may in ((["everyone"], False), (["everyone", "sre", "x"], True), ("sre", True)):
            await at.log_in(groups=groups)
            stored = await at.api.post("/changes", json={"text": str(groups)}, headers=own)
            assert stored.status_code == (201 if may else 403)
        session = {"cookie": f"{SESSION}={at.api.cookies[SESSION]}"}
        scope = {"type": "http", "headers": [(b"cookie", session["cookie"].encode())]}
        for more, known in (
            ({}, Caller("ada", Role.OPERATOR)),
            ({"roles": {"sre": "viewer"}}, None),
            ({"session_key": KEY[::-1]}, None),
            ({"session_key": None}, None),
        ):
            oidc = settings(at.provider.issuer, **more).oidc
            assert oidc is not None
            assert Sessions(oidc, at.clock).caller(scope) == known, more
        assert (await at.api.get("/status", headers=session)).status_code == 200
        at.clock.now = NOON.add(hours=8)
        assert (await at.api.get("/status", headers=session)).status_code == 401


async def test_exchanged_keys_are_read_again_but_not_for_every_forgery() -> None:
    async with here() as at:
        assert (await at.log_in()).status_code == 303
        at.provider.keys.append(new_key("two"))
        at.clock.ran = 31.0
        assert (await at.log_in()).status_code == 303
        at.provider.sign = signed(new_key("three"))
        for _ in range(3):
            assert (await at.log_in()).status_code == 403
        at.provider.sign = None
        assert (await at.log_in()).status_code == 303
        asked = at.provider.asked
        assert [asked.count(path) for path in ("/keys", "/.well-known/openid-configuration")] == [2, 1]
        at.clock.ran = 3_700.0
        await at.log_in()
        assert asked.count("/keys") == 3


async def test_what_the_id_token_leaves_out_comes_from_userinfo_of_the_same_person() -> None:
    async with here() as at:
        at.provider.userinfo = {"groups": ["sre"], "preferred_username": "ada"}
        assert (await at.log_in(groups=None, preferred_username=None)).status_code == 303
        at.provider.userinfo |= {"sub": "18"}
        assert "two different people" in told(await at.log_in(groups=None))


async def test_while_the_provider_is_down_tokens_work_and_the_page_says_so() -> None:
    away = "does not answer as it should: try again in a moment."
    async with here(name="Example & Co") as at:
        at.provider.broken = True
        page = await at.api.get("/login")
        begun = await at.api.get("/login/oidc")
        assert (page.status_code, begun.status_code) == (200, 503)
        assert at.provider.asked == ["/.well-known/openid-configuration"], "it is not asked again at once"
        for each in (page, begun):
            assert told(each) == f"Example &amp; Co {away} A token works meanwhile."
        login = await at.api.post("/login", data={"token": TOKEN})
        assert (login.status_code, (await at.api.get("/status")).status_code) == (303, 200)
        at.provider.broken, at.clock.ran = False, 11.0
        assert told(await at.api.get("/login")) == ""
        back = at.provider.log_in(await at.begin())
        at.provider.broken = True
        assert (await at.api.get(back)).status_code == 503


async def test_a_provider_that_describes_itself_wrongly_is_not_used() -> None:
    wrong = "does not describe itself as a provider does: "
    async with here() as at:
        for metadata, said in (
            ({"issuer": "https://evil.example"}, "calls itself https://evil.example: set issuer"),
            ({"token_endpoint": None}, f"{wrong}token_endpoint"),
            ({"jwks_uri": "file:///etc/passwd"}, f"{wrong}jwks_uri"),
        ):
            at.provider.metadata = metadata
            at.clock.ran += 11.0
            assert said in told(await at.api.get("/login"))
            assert (await at.api.get("/login/oidc")).status_code == 503


def test_all_that_is_wrong_with_the_settings_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        ApiSettings.model_validate({"oidc": {
            "issuer": "ldap://x", "client_id": "", "client_secret": "a", "client_secret_file": "b", "scopes": ["email"],
            "session_key": "short", "roles": {"sre": "boss"}, "session_hours": 0,
        }})  # fmt: skip
    assert {str(error["loc"][1]) for error in caught.value.errors()} == {
        "issuer", "client_id", "client_secret_file", "scopes", "session_key", "roles", "session_hours",
    }  # fmt: skip
    plain = {"issuer": "http://keycloak:8080", "client_id": "x"}
    with pytest.raises(ValidationError, match=r"no login would be let in: set roles, default_role or both"):
        ApiSettings.model_validate({"oidc": plain})
    with pytest.raises(ValidationError, match=r"keycloak:8080 needs https://.*; it needs public_url of \[api\]"):
        ApiSettings.model_validate({"oidc": plain | {"default_role": "viewer"}})


def test_without_the_extra_or_with_a_file_that_is_missing_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"/absent/key cannot be read"):
        create_app(deps(), settings("https://id.example", session_key=None, session_key_file="/absent/key"))
    monkeypatch.setitem(sys.modules, "authlib.integrations.httpx_client", None)
    monkeypatch.delitem(sys.modules, "copilot.api.oidc")
    with pytest.raises(SettingsError, match=r"needs the extra `oidc`: pip install 'temporal-sre-copilot\[oidc\]'"):
        create_app(deps(), settings("https://id.example"))


def test_a_person_is_named_by_the_claim_the_email_or_the_subject_in_one_line() -> None:
    said = {"sub": "17", "email": "a@example.org", "preferred_username": "ada\n\u202e lovelace"}
    assert name_of(said, "preferred_username") == "ada lovelace"
    assert name_of(said, "nickname") == "a@example.org"
    assert name_of({"sub": "17", "email": ""}, "email") == "17"


def test_the_highest_role_of_all_groups_counts() -> None:
    oidc = OidcSettings.model_validate(
        {"issuer": "https://id.example", "client_id": "x", "roles": {**ROLES, "boss": "admin"}}
    )
    found = [oidc.role_of(groups) for groups in (["everyone", "boss", "sre"], "sre", [], None, [17, None])]
    assert found == [Role.ADMIN, Role.OPERATOR, None, None, None]
