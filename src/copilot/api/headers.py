"""What every request passes through: its id, the access log, security headers (the page runs and loads nothing from
other origins), and HEAD."""

import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copilot.api.caller import enter
from copilot.api.errors import CALLER, REQUEST_ID, error_response
from copilot.settings.api import is_loopback

ID_HEADER = "x-request-id"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'{}; frame-ancestors "
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_WORD = re.compile(r"[\w./:%@~+,;$&*()!'-]+", re.ASCII)
_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

access_log = logging.getLogger("copilot.access")


def common_headers(
    app: ASGIApp, frame_ancestors: Sequence[str] = (), *, log_access: bool = False, form_target: str = ""
) -> ASGIApp:
    """ASGI middleware: gives each request an id, the caller's X-Request-Id if it is valid, and each response the
    security headers, and `cache-control: no-store` unless it has its own. `frame_ancestors` are the origins that may
    embed the page, none by default; `form_target` is an origin that our forms may lead to, as the logout does. With
    `log_access` it logs each response, as key=value text and as fields of the record."""
    policy = CONTENT_POLICY.format(f" {form_target}".rstrip())
    fixed = HEADERS | {"content-security-policy": policy + (" ".join(frame_ancestors) or "'none'")}
    if not frame_ancestors:
        fixed["x-frame-options"] = "DENY"

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        # An address that was given with a slash at its end, and a path that begins with one.
        scope = {**scope, "path": "/" + scope["path"].lstrip("/")}
        given = Headers(scope=scope).get(ID_HEADER, "")
        this_id = given if _VALID_ID.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(this_id)
        enter(None)
        start, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                headers.update({**fixed, ID_HEADER: this_id})
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await app(scope, receive, with_headers)
        finally:
            if log_access:
                client, raw = scope.get("client"), scope.get("raw_path")
                fields = {
                    "method": scope["method"],
                    "path": raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"]),
                    "status": status,
                    "ms": round(1000 * (time.perf_counter() - start), 1),
                    "client": client[0] if client else "-",
                    "caller": CALLER.get() or "-",
                    "request_id": this_id,
                }
                text = " ".join(f"{key}={quoted(value)}" for key, value in fields.items())
                access_log.info(text, extra={"event": "http.response", **fields})

    return serve


def quoted(value: object) -> str:
    """A value of key=value text: as it is where it is one word, else quoted as in JSON."""
    text = str(value)
    return text if _WORD.fullmatch(text) else json.dumps(text)


def known_hosts(app: ASGIApp, public_url: str | None) -> ASGIApp:
    """ASGI middleware for an API on loopback without tokens: answers requests to a loopback name or to the host of
    `public_url`. Others get a 421: a web page whose own name resolves to this machine (DNS rebinding) sends that name.
    """
    public = host_name(urlsplit(public_url).netloc) if public_url else None

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = host_name(Headers(scope=scope).get("host", ""))
            if not (is_loopback(host) or host.endswith(".localhost") or host == public):
                message = "this name is not the API's: use 127.0.0.1 or localhost, or set public_url of [api]"
                await error_response(scope, 421, "unknown_host", message)(scope, receive, send)
                return
        await app(scope, receive, send)

    return serve


def host_name(address: str) -> str:
    """The name or IP address in the HOST:PORT of a request; empty if there is none."""
    try:
        return (urlsplit(f"//{address}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def head_as_get(app: ASGIApp, endless: str) -> ASGIApp:
    """ASGI middleware: answers HEAD as GET, whose body the server does not send; not on the path `endless`."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] != endless:
            scope = {**scope, "method": "GET"}
        await app(scope, receive, send)

    return serve
