"""No page of another origin can act through a browser: what is not a reading request must come from our own pages."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from copilot.api.caller import READING
from copilot.api.errors import error_response

FOREIGN = "this was sent by a page of another origin, or by none: send it from the Copilot's own page, or with a token"


def own_origin(app: ASGIApp, public_url: str | None, cookies: frozenset[str]) -> ASGIApp:
    """ASGI middleware: answers a request that does more than read with a 403 where a browser sent it for a page of
    another origin, or where it has one of our `cookies` and says nothing of its origin. Programs send neither."""
    public = urlsplit(public_url).netloc.lower() if public_url else None

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in READING and not _own(Headers(scope=scope)):
            await error_response(scope, 403, "foreign_origin", FOREIGN)(scope, receive, send)
            return
        await app(scope, receive, send)

    def _own(headers: Headers) -> bool:
        # Browsers send the first on secure connections and to this machine, the others everywhere.
        if (site := headers.get("sec-fetch-site")) is not None:
            return site in ("same-origin", "none")
        if (page := headers.get("origin") or headers.get("referer")) is None:
            return cookies.isdisjoint(headers.get("cookie", "").replace("=", ";").replace(" ", "").split(";"))
        try:
            sender = urlsplit(page).netloc.lower()
        except ValueError:
            return False
        return bool(sender) and sender in (headers.get("host", "").lower(), public)

    return serve
