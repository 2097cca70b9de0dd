"""Who asks a Prometheus, told over the wire: basic, bearer, certificates, AWS signatures."""

import asyncio
import base64
import errno
import os
import re
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from anyio import EndOfStream
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import ValidationError
from whenever import Instant

from copilot import bootstrap
from copilot.errors import SettingsError
from copilot.http_failures import root_cause
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import PrometheusSettings
from copilot.settings.load import load_settings
from copilot.sources.checks import check_prometheus
from tests.fakes.http import Request
from tests.fakes.serving import serving
from tests.sources.prometheus_standin import StandIn, error, source

READ = "frontend.request_rate_per_sec"


async def read(url: str, **settings: Any) -> Signals:
    async with source(url, **settings) as asking:
        return await asking.read(Instant.now())


def bears(value: str) -> StandIn:
    return StandIn(check=lambda request: request.headers.get("authorization") == value)


async def test_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sésame\n")
    told = base64.b64encode("ops:sésame".encode()).decode()
    async with bears(f"Basic {told}").run() as standin:
        for password in ({"basic_password": "sésame"}, {"basic_password_file": tmp_path / "password"}):
            signals = await read(standin.url, basic_user="ops", **password)
            assert signals.value(READ) == 1.0
        refused = await read(standin.url)
        assert refused.missing[READ].code == MissingCode.FORBIDDEN


async def test_a_bearer_token_and_one_that_is_rotated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    async with bears("Bearer first").run() as standin, source(standin.url, bearer_token_file=file) as asking:
        assert (await read(standin.url, bearer_token="first")).value(READ) == 1.0
        assert (await asking.read(Instant.now())).value(READ) == 1.0
        standin.check = lambda request: request.headers["authorization"] == "Bearer second"
        assert (await asking.read(Instant.now())).missing[READ].code == MissingCode.FORBIDDEN
        file.write_text("second")
        assert (await asking.read(Instant.now())).value(READ) == 1.0
        file.unlink()
        why = (await asking.read(Instant.now())).missing[READ]
        assert (why.code, why.detail) == (MissingCode.FORBIDDEN, f"the token file {file} cannot be read")


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


def server_side(authority: trustme.CA, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if mutual:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_certificate_of_ones_own_authority(authority: trustme.CA, tmp_path: Path) -> None:
    async with StandIn().run(server_side(authority)) as standin:
        assert (await read(standin.url, ca_file=tmp_path / "ca.pem")).value(READ) == 1.0
        why = (await read(standin.url)).missing[READ]
        assert why.code == MissingCode.TARGET_DOWN
        assert why.detail.startswith("certificate not trusted: unable to get local issuer certificate")


async def test_a_server_that_hangs_up_when_tls_begins_is_named_so() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read(1)

    async with serving(hang_up) as port:
        why = (await read(f"https://127.0.0.1:{port}")).missing[READ]
    assert why.code == MissingCode.TARGET_DOWN
    assert re.fullmatch("TLS: .*EOF.*|Connection reset by peer", why.detail)


def test_an_error_says_nothing_of_the_inside_of_the_libraries_behind_it() -> None:
    """anyio finds its queue empty and says so `from None`; httpx has no words for that."""
    error = httpx.ReadError("")
    error.__cause__ = EndOfStream()
    error.__cause__.__context__ = IndexError("pop from an empty deque")
    error.__cause__.__suppress_context__ = True
    assert root_cause(error) == "ReadError"
    error.__cause__.__context__ = ConnectionResetError(errno.ECONNRESET, "")
    assert root_cause(error) == os.strerror(errno.ECONNRESET)


async def test_a_client_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    mine = authority.issue_cert("copilot@example.org")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    for n, pem in enumerate(mine.cert_chain_pems):
        pem.write_to_path(tmp_path / "cert.pem", append=n > 0)
    files = {"cert_file": tmp_path / "cert.pem", "key_file": tmp_path / "key.pem"}
    async with StandIn().run(server_side(authority, mutual=True)) as standin:
        assert (await read(standin.url, ca_file=tmp_path / "ca.pem", **files)).value(READ) == 1.0
        why = (await read(standin.url, ca_file=tmp_path / "ca.pem")).missing[READ]
        assert why.code in (MissingCode.TARGET_DOWN, MissingCode.PARSE)
        assert re.search("certificate required|reset|broke off", why.detail, re.IGNORECASE)


SESSION = "a/session+token"
KEY = Credentials("AKIDEXAMPLE", "no+secret/at+all", SESSION)


def signed(request: Request, url: str) -> bool:
    """Whether the signature is that of exactly this request, computed anew."""
    told = request.headers.get("authorization", "")
    parts = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(\d{8})/eu-west-1/aps/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        told,
    )
    if parts is None:
        return False
    _, names, signature = parts.groups()
    assert {"host", "x-amz-date", "x-amz-security-token"} <= set(names.split(";"))
    assert request.headers["x-amz-security-token"] == SESSION
    again = AWSRequest(
        request.method, url + request.path, headers={n: request.headers[n] for n in names.split(";")}, data=request.body
    )
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(KEY, "aps", "eu-west-1")
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return bool(expected == signature)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)


GUARD = "max_samples_processed_error_threshold"
WORKSPACE = "/workspaces/ws-1234"


@pytest.mark.usefixtures("credentials")
async def test_amazon_managed_prometheus_gets_a_signature_of_the_whole_request_and_a_guard_of_its_cost() -> None:
    async with StandIn().run() as standin:
        standin.check = lambda request: signed(request, standin.url)
        workspace = standin.url + WORKSPACE
        signals = await read(workspace, sigv4={"region": "eu-west-1"}, max_samples=1_000_000)
        assert signals.value(READ) == 1.0
        assert {r.path for r in standin.requests} == {f"{WORKSPACE}/api/v1/query?{GUARD}=1000000"}
        unsigned = await read(workspace)
        assert unsigned.missing[READ].code == MissingCode.FORBIDDEN
        assert "Missing Authentication Token" in unsigned.missing[READ].detail
        elsewhere = await read(workspace, sigv4={"region": "us-east-1"})
        assert elsewhere.missing[READ].code == MissingCode.FORBIDDEN


@pytest.mark.usefixtures("credentials")
async def test_a_body_changed_on_its_way_is_not_what_was_signed() -> None:
    async with StandIn().run() as standin:
        await read(standin.url + WORKSPACE, sigv4={"region": "eu-west-1"})
        sent = standin.requests[0]
        assert signed(sent, standin.url)
        assert not signed(replace(sent, body=sent.body + b"&time=0"), standin.url)
        assert not signed(replace(sent, path=f"{WORKSPACE}/api/v1/query?{GUARD}=9"), standin.url)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("status", ["422 Unprocessable Entity", "400 Bad Request"])
async def test_a_query_over_the_cost_guard_is_missing_with_amazons_reason_and_advice(status: str) -> None:
    refusal = error("the query would process more samples (60000001) than its error threshold (50000000)")
    async with StandIn(status=status, body=refusal).run() as standin:
        signals = await read(standin.url + WORKSPACE, sigv4={"region": "eu-west-1"})
    why = signals.missing[READ]
    assert why.code == MissingCode.DROPPED
    assert "more samples (60000001) than its error threshold" in why.detail
    assert why.detail.endswith("narrow selector, shorten window_sec, or raise max_samples")


@pytest.mark.usefixtures("credentials")
async def test_doctor_signs_and_guards_its_questions_too() -> None:
    async with StandIn().run() as standin:
        standin.check = lambda request: signed(request, standin.url)
        settings = PrometheusSettings.model_validate(
            {"url": standin.url + WORKSPACE, "sigv4": {"region": "eu-west-1"}, "max_samples": 7}
        )
        found = await check_prometheus(settings, 60.0)
    assert [role.living for role in found.roles] == [1, 0]
    asked = [r for r in standin.requests if r.method == "POST"]
    assert {r.path for r in asked} == {f"{WORKSPACE}/api/v1/query?{GUARD}=7"}
    assert [r.path for r in standin.requests if r.method == "GET"] == [f"{WORKSPACE}/api/v1/status/buildinfo"]


async def test_without_aws_credentials_it_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="no AWS credentials were found"):
        await read("http://127.0.0.1:1", sigv4={"region": "eu-west-1"})
    with pytest.raises(SettingsError, match=r"sigv4: The config profile \(ops\) could not be found"):
        await read("http://127.0.0.1:1", sigv4={"region": "eu-west-1", "profile": "ops"})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        pytest.param({"bearer_token_file": "NONE"}, "bearer_token_file .* cannot be read", id="no token file"),
        pytest.param({"basic_user": "a", "basic_password_file": "NONE"}, "basic_password_file", id="no password file"),
        pytest.param({"ca_file": "NONE"}, "ca_file .* cannot be read", id="no authority"),
        pytest.param({"ca_file": "EMPTY"}, "ca_file .* holds no usable", id="no certificate in it"),
        pytest.param({"cert_file": "NONE"}, "cert_file .* cannot be read", id="no client certificate"),
    ],
)
async def test_files_that_cannot_be_used_are_named_at_start(
    settings: dict[str, str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "EMPTY").write_text("")
    paths = {k: tmp_path / v if v.isupper() else v for k, v in settings.items()}
    with pytest.raises(SettingsError, match=reason):
        await read("https://127.0.0.1:1", **paths)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        pytest.param({"url": "ftp://x"}, "not an http:// or https:// URL", id="scheme"),
        pytest.param({"url": "http://a:b@x"}, "basic_user", id="password in the url"),
        pytest.param({"bearer_token": "x", "basic_user": "y"}, "choose one of bearer_token and basic_user", id="two"),
        pytest.param({"basic_user": "y"}, "needs one of basic_password", id="no password"),
        pytest.param({"basic_password": "y"}, "needs basic_user", id="no user"),
        pytest.param({"cert_file": "c"}, "need an https:// url", id="certificate without TLS"),
        pytest.param({"url": "https://x", "key_file": "c"}, "key_file needs cert_file", id="key alone"),
        pytest.param({"selector": "cluster=prod"}, "not a list of label matchers", id="selector"),
        pytest.param({"dialect": {"server": "sdk default"}}, "no server dialect 'sdk default'", id="dialect"),
        pytest.param({"sigv4": {"region": ""}}, "at least 1 character", id="no region"),
        pytest.param({"prefix": "a-"}, "match pattern", id="prefix"),
        pytest.param({"flavour": "x"}, "Extra inputs", id="unknown key"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PrometheusSettings(**{"url": "http://x", **settings})


async def test_copilot_toml_names_a_prometheus_and_secrets_are_not_printed(tmp_path: Path) -> None:
    (tmp_path / "copilot.toml").write_text(
        '[[clusters]]\nname = "prod"\n[clusters.prometheus]\nurl = "http://127.0.0.1:1/prom/"\n'
        'bearer_token = "hush"\nselector = \'cluster="prod"\'\ndialect = {server = "server opentelemetry"}\n'
    )
    [cluster] = load_settings(tmp_path / "copilot.toml").clusters
    assert "hush" not in repr(cluster)
    [found] = bootstrap.sources(cluster)
    assert found.name == "prometheus"
    await found.aclose()
