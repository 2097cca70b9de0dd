"""What /openapi.json says beyond the routes: who may ask, and how errors look."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from copilot import __version__
from copilot.api.auth import SCHEMES
from copilot.api.errors import ErrorBody
from copilot.api.examples import BY_MODEL

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


def describe(app: FastAPI, clusters: Sequence[str], open_paths: frozenset[str] | None) -> None:
    """Have the description say what FastAPI does not know: which clusters there are, that errors are JSON everywhere,
    and where a token is needed (`open_paths` None: nowhere)."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            said = plain()
            for path, operations in said["paths"].items():
                for operation in operations.values():
                    _name_clusters(operation, clusters)
                    _errors_in_json(operation)
                    if open_paths is not None and path in open_paths:
                        operation["security"] = []
            for name, example in BY_MODEL.items():
                if name in said["components"]["schemas"]:
                    said["components"]["schemas"][name]["examples"] = [example]
            if open_paths is not None:
                said["components"]["securitySchemes"] = SCHEMES
                said["security"] = [{name: []} for name in SCHEMES]
        return plain()

    app.openapi = described  # type: ignore[method-assign]


def _name_clusters(operation: dict[str, Any], clusters: Sequence[str]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "cluster":
            parameter["schema"] = {"type": "string", "enum": list(clusters)}
            parameter["required"] = len(clusters) > 1


def _errors_in_json(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status >= "400" and content:
            response["content"] = {"application/json": next(iter(content.values()))}
