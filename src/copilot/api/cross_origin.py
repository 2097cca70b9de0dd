"""Which other web pages may ask the API from a browser: those of the configured origins."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from copilot.api import problems

ASKED = ("authorization", "if-none-match", "last-event-id", "x-request-id")
TOLD = ("etag", "x-request-id")
KEPT_SEC = 600


class CrossOrigin(CORSMiddleware):
    """Starlette's, but a browser that is refused is told so in the envelope. No cookies: a login is for our own
    page, others show a token."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD"),
            allow_headers=ASKED,
            expose_headers=TOLD,
            max_age=KEPT_SEC,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told before it asks."""
        told = super().preflight_response(request_headers)
        if told.status_code < 400:
            return told
        refused = problems.answer(
            400, problems.ErrorDetail(code="origin_refused", message=f"{bytes(told.body).decode()}: see cors_origins")
        )
        refused.headers.update({k: v for k, v in told.headers.items() if k.startswith("access-control") or k == "vary"})
        return refused
