"""/openapi.json describes the API: checked by schemathesis over all routes, and example by example."""

import json
from typing import Any

from hypothesis import HealthCheck, Phase, assume, settings
from jsonschema import Draft202012Validator

from copilot.api.app import create_app
from copilot.api.openapi import EXAMPLES
from copilot.api.parameters import parse_time
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import deps
from tests.api.test_status import telling
from tools.docs import api_examples


def check(case: Any) -> None:
    """What every answer must be; a range must not begin after its end, which no schema can say."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    assume(not _runs_backwards(case.query))
    # Refusing to act is the answer of /actions; that a change is of a cluster and of now, no schema can say.
    told = {path: [positive_data_acceptance] for path in ("/changes", "/silences", "/acks")}
    left_out = {"/actions": [not_a_server_error]} | told
    case.call_and_validate(excluded_checks=left_out.get(case.path, []))


def test_schemathesis_finds_nothing() -> None:
    """Its import and the cases it makes take seconds: nobody but this test is to wait for them."""
    from schemathesis import openapi
    from schemathesis.core.result import Ok
    from schemathesis.pytest.lazy import get_all_tests

    app = create_app(deps(telling("critical"), clusters=("default", "quiet")), ApiSettings(host="0.0.0.0"))
    # /events never ends; test_rest.py reads it.
    schema = openapi.from_asgi("/openapi.json", app).exclude(path="/events")
    chosen = settings(max_examples=15, derandomize=True, deadline=None, database=None,
                      phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    tested = []
    for found in get_all_tests(schema=schema, test_func=check, settings=chosen, given_kwargs={}):
        assert isinstance(found, Ok)
        operation, test = found.ok()
        test()
        tested.append(operation.label)
    assert len(tested) == 29


def _runs_backwards(query: Any) -> bool:
    """Whether a range begins after its end."""
    try:
        return parse_time(str(query["start"])) > parse_time(str(query["end"]))
    except (KeyError, ValueError, TypeError):
        return False


async def test_a_range_that_runs_backwards_is_refused_where_the_document_says_so() -> None:
    async with client(deps()) as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
        for path in ("/status/timeline", "/signals/{signal_id}", "/changes"):
            operation = paths[path]["get"]
            assert "`start` is after `end`" in operation["responses"]["422"]["description"]
            texts = {p["name"]: p["description"] for p in operation["parameters"] if p["name"] in ("start", "end")}
            assert "not after `end`" in texts["start"]
            assert "not before `start`" in texts["end"]
            asked = path.format(signal_id="demand.starts_per_sec")
            answer = await api.get(f"{asked}?start=2026-11-23&end=2026-11-22")
            told = answer.json()["error"]
            assert (answer.status_code, told["field"], told["message"]) == (
                422,
                "start",
                "the range ends before it starts",
            )


async def test_every_answer_has_an_example_that_is_one() -> None:
    async with client(deps()) as api:
        said = (await api.get("/openapi.json")).json()
    schemas = said["components"]["schemas"]
    for path, operations in said["paths"].items():
        for operation in operations.values():
            content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            assert not content or name, path
            if name:
                (example,) = schemas[name]["examples"]
                Draft202012Validator({**said, "$ref": f"#/components/schemas/{name}"}).validate(example)


async def test_the_examples_are_fresh() -> None:
    assert json.loads(EXAMPLES.read_text(encoding="utf-8")) == await api_examples.examples(), "run: make docs"
