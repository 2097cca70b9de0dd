"""How a source asked over HTTP is told who asks: bearer, basic, client certificate, AWS Signature Version 4."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx

from copilot.core.errors import SettingsError, SourceError
from copilot.core.signals import MissingCode
from copilot.settings import PrometheusSettings, SigV4
from copilot.source_settings import HttpSourceSettings
from copilot.telemetry.http_client import SourceClient

SERVICE = "aps"


class BearerFile(httpx.Auth):
    """A bearer token read anew for each request: tokens in files are rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            token = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(MissingCode.FORBIDDEN, f"the token file {self._path} cannot be read") from error
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class AwsSignature(httpx.Auth):
    """AWS Signature Version 4 over the request with its body. SettingsError without botocore or credentials."""

    def __init__(self, settings: SigV4) -> None:
        try:
            from botocore import auth, awsrequest, exceptions, session
        except ImportError as error:
            raise SettingsError(
                ["prometheus.sigv4 needs botocore: install temporal-sre-copilot with its extra `aws`"]
            ) from error
        self._request, self._signer, self._failure = awsrequest.AWSRequest, auth.SigV4Auth, exceptions.BotoCoreError
        self._region = settings.region
        try:
            self._credentials: Any = session.Session(profile=settings.profile).get_credentials()
        except exceptions.BotoCoreError as error:
            raise SettingsError([f"prometheus.sigv4: {error}"]) from error
        if self._credentials is None:
            raise SettingsError(["prometheus.sigv4: no AWS credentials were found (environment, profile or role)"])

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await request.aread()
        await asyncio.to_thread(self._sign, request)
        yield request

    def _sign(self, request: httpx.Request) -> None:
        """Credentials may have to be fetched anew, which waits for AWS."""
        headers = {"Host": request.url.netloc.decode()}
        if kind := request.headers.get("Content-Type"):
            headers["Content-Type"] = kind
        to_sign = self._request(request.method, str(request.url), headers=headers, data=request.content)
        try:
            frozen = self._credentials.get_frozen_credentials()
            self._signer(frozen, SERVICE, self._region).add_auth(to_sign)
        except self._failure as error:
            raise SourceError(MissingCode.FORBIDDEN, f"AWS credentials: {error}") from error
        request.headers.update(dict(to_sign.headers.items()))


def auth(settings: HttpSourceSettings) -> httpx.Auth | None:
    """What the settings say of who asks. SettingsError where a file cannot be read or credentials are not there."""
    if isinstance(settings, PrometheusSettings) and settings.sigv4 is not None:
        return AwsSignature(settings.sigv4)
    if settings.bearer_token_file is not None:
        _text(settings.bearer_token_file, f"{settings.section}.bearer_token_file")
        return BearerFile(settings.bearer_token_file)
    if settings.bearer_token is not None:
        return _Bearer(settings.bearer_token.get_secret_value())
    if settings.basic_user is not None:
        if settings.basic_password_file is not None:
            password = _text(settings.basic_password_file, f"{settings.section}.basic_password_file").strip()
        else:
            password = settings.basic_password.get_secret_value() if settings.basic_password else ""
        return httpx.BasicAuth(settings.basic_user, password)
    return None


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def client(settings: HttpSourceSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that says who asks, without time limits of its own. SettingsError as `auth` and `tls` raise it."""
    return SourceClient(
        settings.section,
        transport=transport,
        trust_env=False,
        timeout=None,
        follow_redirects=False,
        verify=tls(settings),
        auth=auth(settings),
    )


def tls(settings: HttpSourceSettings) -> ssl.SSLContext | bool:
    """Whom we trust and who we are, over TLS. SettingsError where a file cannot be used."""
    if not settings.url.startswith("https://"):
        return False
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"{settings.section}.ca_file {settings.ca_file} {_why(error)}"]) from error
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            names = " with ".join(str(p) for p in (settings.cert_file, settings.key_file) if p)
            raise SettingsError([f"{settings.section}.cert_file {names} {_why(error)}"]) from error
    return context


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{name} {path} {_why(error)}"]) from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}"
    return "holds no usable certificate or key" if isinstance(error, ssl.SSLError) else "is no text"
