"""Errors as a page for whoever reads in a browser; programs get the envelope of problems.py."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copilot.api.problems import ErrorBody
from copilot.web.page import render_error

TITLES = {
    404: "Not found",
    422: "This address cannot be used",
    500: "The Copilot failed to answer",
    503: "Not available now",
}
WHAT_TO_DO = {
    "unknown_cluster": "The start page shows the clusters there are.",
    "unknown_guide": "The findings and actions on the start page link to those there are.",
    "unknown_signal": "The start page shows the signals there are.",
    "not_found": "Nothing is served at this address. The start page leads to all there is.",
    "bad_parameter": "Mend the address, or begin at the start page.",
    "internal_error": "Load it again. If it fails again, look the request id up in the Copilot's log.",
}
OTHERWISE = "Load it again in a moment, or begin at the start page."


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML, and no JSON that is as welcome: browsers do, programs do not."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (p.strip().lower() for p in part.split(";"))
        said = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights[kind] = float(said) if said.replace(".", "", 1).isdecimal() else 0.0
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)


class ReadableErrors:
    """ASGI middleware: the envelope of an error becomes a page with the same status and headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; put a page in the place of an error's envelope where a person asks."""
        readable = scope["type"] == "http" and prefers_html(Headers(scope=scope).get("accept", ""))
        if not readable or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        begun: Message | None = None
        body = b""

        async def told(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and _is_error(message):
                begun = message
            elif begun is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_page(begun, body, send)

        await self._app(scope, receive, told)


def _is_error(message: Message) -> bool:
    return bool(message["status"] >= 400 and Headers(raw=message["headers"]).get("content-type") == "application/json")


async def _send_page(begun: Message, envelope: bytes, send: Send) -> None:
    error = ErrorBody.model_validate_json(envelope).error
    what_to_do = WHAT_TO_DO.get(error.code, OTHERWISE)
    status = begun["status"]
    title = TITLES.get(status) or HTTPStatus(status).phrase
    page = render_error(
        title, error.message, what_to_do, status=status, field=error.field, request_id=error.request_id
    ).encode()
    headers = MutableHeaders(raw=list(begun["headers"]))
    headers["content-type"] = "text/html; charset=utf-8"
    headers["content-length"] = str(len(page))
    await send({**begun, "headers": headers.raw})
    await send({"type": "http.response.body", "body": page})
