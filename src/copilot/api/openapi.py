"""What /openapi.json adds to the routes: authentication, errors, cluster names, and examples."""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from copilot import __version__
from copilot.api.auth import SCHEMES
from copilot.api.caller import allowed
from copilot.api.errors import ErrorBody

EXAMPLES = Path(__file__).parent / "openapi_examples.json"
"""Answers about a recorded incident, by the name of their model; written by `python -m tools.docs.api_examples`."""

HEADLINE: dict[str, Any] = {
    "title": "Temporal SRE Copilot",
    "version": __version__,
    "description": (
        "Whether a Temporal cluster is making progress, and if not, why. A missing reading is null, never 0. With "
        "`degraded` true an answer is the best available; `degraded_because` says what is unavailable."
    ),
}


def errors(*, authenticated: bool) -> dict[int | str, dict[str, Any]]:
    """The errors that any route may answer."""
    texts = {404: "Not found", 422: "A parameter is invalid", 500: "The Copilot failed"}
    if authenticated:
        texts |= {401: "No token, or one that is not accepted", 403: "The caller's role does not allow it"}
    return {status: {"model": ErrorBody, "description": text} for status, text in sorted(texts.items())}


def describe(app: FastAPI, clusters: Sequence[str], open_paths: frozenset[str] | None) -> None:
    """Add to the app's OpenAPI document what FastAPI does not know: the names of the caller's clusters, that errors are
    always JSON, examples, and where a token is required (`open_paths` None: nowhere)."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _complete(operation)
                    if open_paths is not None and path in open_paths:
                        operation["security"] = []
            for name, example in json.loads(EXAMPLES.read_text(encoding="utf-8")).items():
                if name in document["components"]["schemas"]:
                    document["components"]["schemas"][name]["examples"] = [example]
            if open_paths is not None:
                document["components"]["securitySchemes"] = SCHEMES
                document["security"] = [{name: []} for name in SCHEMES]
        # A copy, because callers may read different clusters.
        document, own = deepcopy(generate()), allowed(tuple(clusters))
        for operation in (o for operations in document["paths"].values() for o in operations.values()):
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "cluster":
                    parameter["schema"] = {"type": "string", "enum": list(own)}
                    parameter["required"] = len(own) > 1
        return document

    app.openapi = described  # type: ignore[method-assign]


def _complete(operation: dict[str, Any]) -> None:
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    if {"start", "end"} <= parameters:  # What one parameter's schema cannot say of two.
        operation["responses"]["422"]["description"] = "A parameter is invalid, or `start` is after `end`"
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status >= "400" and content:
            response["content"] = {"application/json": next(iter(content.values()))}
