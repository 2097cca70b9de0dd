"""What /openapi.json says beyond the routes: who may ask, and how errors look."""

from typing import Any

from fastapi import FastAPI

from copilot import __version__
from copilot.api.authentication import SCHEMES
from copilot.api.problems import ErrorBody

HEADLINE: dict[str, Any] = {
    "title": "Temporal SRE Copilot",
    "version": __version__,
    "description": (
        "Whether a Temporal cluster makes forward progress on the work it has, and why not. A reading that is missing "
        "is null, never 0. With `degraded` true an answer is the best there is; `degraded_because` says what is away."
    ),
}


def errors(*, authenticated: bool) -> dict[int | str, dict[str, Any]]:
    """The errors any route may answer with."""
    said = {404: "There is no such thing", 422: "A parameter cannot be used", 500: "The Copilot failed"}
    if authenticated:
        said[401] = "No token, or one that is not known"
    return {status: {"model": ErrorBody, "description": text} for status, text in sorted(said.items())}


def ask_for_tokens(app: FastAPI, open_paths: frozenset[str]) -> None:
    """Have the description say that a token is needed, and where not."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            said = plain()
            said.setdefault("components", {})["securitySchemes"] = SCHEMES
            said["security"] = [{name: []} for name in SCHEMES]
            for path in open_paths & said["paths"].keys():
                for operation in said["paths"][path].values():
                    operation["security"] = []
        return plain()

    app.openapi = described  # type: ignore[method-assign]
