"""A browser's login: the token becomes a cookie that no script can read."""

import logging

import pytest

from copilot.api.auth import new_token, token_hash
from copilot.api.routes_login import local_path
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import deps
from tests.api.test_status import telling

TOKEN = new_token()
ASKING = ApiSettings(tokens={"alice": token_hash(TOKEN)})
PERSON = {"accept": "text/html,*/*"}


async def test_a_person_is_sent_to_the_login_and_a_program_is_refused() -> None:
    async with client(deps(telling()), ASKING) as api:
        person = await api.get("/?cluster=default&at=2026-01-01", headers=PERSON)
        program = await api.get("/", headers={"accept": "application/json"})
        script = await api.get("/fragment", headers={"sec-fetch-mode": "cors"})
        form = await api.get(person.headers["location"])
    assert person.status_code == 303
    assert person.headers["location"] == "/login?next=%2F%3Fcluster%3Ddefault%26at%3D2026-01-01"
    assert (program.status_code, script.status_code) == (401, 401)
    assert "Basic" not in script.headers["www-authenticate"], "no password window over the page"
    assert 'value="/?cluster=default&amp;at=2026-01-01"' in form.text
    assert "happy" not in form.text


async def test_the_token_becomes_a_cookie_which_opens_all_until_the_logout() -> None:
    async with client(deps(telling()), ASKING) as api:
        wrong = await api.post("/login", data={"token": "cop_wrong", "next": "/"})
        foreign = await api.post("/login", data={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"})
        right = await api.post("/login", data={"token": f" {TOKEN}\n", "next": "/?cluster=default"})
        page = await api.get("/")
        status = await api.get("/status")
        await api.post("/logout", headers={"sec-fetch-site": "cross-site"})
        still = await api.get("/status")
        await api.post("/logout", headers={"origin": "http://localhost"})
        after = await api.get("/status")
    assert (wrong.status_code, foreign.status_code) == (401, 403)
    for refused in (wrong, foreign):
        assert "set-cookie" not in refused.headers
    assert (right.status_code, right.headers["location"]) == (303, "/?cluster=default")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (page.status_code, status.status_code, still.status_code, after.status_code) == (200, 200, 200, 401)
    assert "Log out" in page.text


async def test_a_form_without_end_is_not_read_to_its_end() -> None:
    async with client(deps(telling()), ASKING) as api:
        assert (await api.post("/login", content=b"token=" + b"x" * 1_000_000)).status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\nb"])
def test_a_login_leads_to_no_other_place(target: str) -> None:
    assert local_path(target) == "/"


async def test_over_https_the_cookie_goes_by_https_alone() -> None:
    async with client(deps(telling()), ASKING) as api:
        api.base_url = "https://copilot"
        answer = await api.post("/login", data={"token": TOKEN})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("trusted", "secure"), [(("127.0.0.1",), True), (("127.0.0.0/8",), True), (("10.0.0.0/16",), False)]
)
async def test_a_proxys_word_that_it_speaks_https_counts_if_the_proxy_is_trusted(
    trusted: tuple[str, ...], secure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="copilot.access")
    settings = ASKING.model_copy(update={"trusted_proxies": trusted, "access_log": True})
    async with client(deps(telling()), settings) as api:
        proxied = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
        answer = await api.post("/login", data={"token": TOKEN}, headers=proxied)
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure
    assert ("client=203.0.113.9 " in caplog.text) is secure
