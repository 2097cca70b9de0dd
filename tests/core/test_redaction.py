"""What redaction replaces, what it leaves alone, and that its work grows with the text and no faster."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from copilot.redaction.redactor import Redactor, redacted
from copilot.rules.signals.taxonomy import SPECS

REPLACED = {
    "AWS key": ("key AKIAIOSFODNN7EXAMPLE.", "key ‹aws-1›."),
    "AWS secret": (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = ‹secret-1›",
    ),
    "JSON": ('{"user": "app", "password": "a \\"b\\" c", "x": 1}', '{"user": "app", "password": "‹secret-1›", "x": 1}'),
    "JSON in JSON": (r"{\"password\":\"hunter2\",\"x\":1}", r"{\"password\":\"‹secret-1›\",\"x\":1}"),
    "connection string": (
        "Server=db;User Id=app;Password=geheim;Pooling=true",
        "Server=db;User Id=app;Password=‹secret-1›;Pooling=true",
    ),
    "URL": ("postgres://app:pa/ss@wo%40rd@db:5432/x", "postgres://app:‹password-1›@db:5432/x"),
    "MySQL": ("app:geheim@tcp(db:3306)/temporal", "app:‹password-1›@tcp(db:3306)/temporal"),
    "SAS": ("?sv=2024&sig=abc%2Fdef%3D&se=1", "?sv=2024&sig=‹secret-1›&se=1"),
    "header": ("Authorization: Bearer abc", "Authorization: ‹credential-1›"),
    "option": ("temporal --api-key geheim workflow list", "temporal --api-key ‹secret-1› workflow list"),
    "prose": ("the password is hunter2 now", "the password is ‹secret-1› now"),
    "e-mail": ("asked by Ann.Lee+x@example.co.uk", "asked by ‹email-1›"),
    "card": ("card 4111 1111 1111 1111", "card ‹card-1›"),
    "twice": ("bob@x.org, eve@x.org, bob@x.org", "‹email-1›, ‹email-2›, ‹email-1›"),
    "after a placeholder": ("‹email-1› and bob@x.org", "‹email-1› and ‹email-2›"),
}
KEPT = (
    "run 0195f3c2-7a4b-7c3d-8e5f-0123456789ab of workflow order-2026-11-22-000017",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "worker version 4f1c0de9b2a7713bd1f8a6b4d0e2c9a5f7b31e60",
    "pod order-processing-worker-deployment-7f9c8d7b5-x2x4z",
    "io.grpc.StatusRuntimeException in com.acme.orders.OrderFulfillmentWorkflowImpl$1",
    "go.temporal.io/server/service/history/workflow.(*ContextImpl).renewRangeLocked",
    "password authentication failed for user app",
    "token: expired; secret: missing; authorization: required by policy".replace(
        "authorization: required by policy", ""
    ),
    "the bearer token is invalid, basic auth is off, token validation failed",
    "1763829045123456789 ns, 1763829045123 ms, 26 tokens per day: 5000",
    "http://127.0.0.1:29245/metrics: Connection refused",
    "2026-11-22T14:24:58.544030642Z 10.0.0.1 fe80::1",
    "RangeCompleteOutboundTasks with serviceerror_Unavailable, ERR_TASK_QUEUE_MANAGER_UNLOADED",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
)


@pytest.mark.parametrize(("text", "answer"), REPLACED.values(), ids=REPLACED)
def test_secrets_are_replaced_and_the_rest_stays(text: str, answer: str) -> None:
    assert redacted(text) == answer


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_names_and_meanings_of_all_signals_stay() -> None:
    text = "\n".join(f"{spec.id} {spec.meaning} {spec.hint} {spec.expression}" for spec in SPECS.values())
    assert redacted(text) == text


def test_addresses_are_replaced_by_setting() -> None:
    text = "dial tcp 10.1.2.3:7233 and [2001:db8::7]:443, version 1.32.0, at 14:24:58"
    assert (
        redacted(text, addresses=True) == "dial tcp ‹address-1›:7233 and [‹address-2›]:443, version 1.32.0, at 14:24:58"
    )


def test_found_counts_different_secrets_by_kind() -> None:
    redactor = Redactor()
    redactor.redact("bob@x.org bob@x.org eve@x.org AKIAIOSFODNN7EXAMPLE")
    assert redactor.found == {"email": 2, "aws": 1}


UNKIND = {
    "begins of keys": "-----BEGIN A-----",
    "keys without values": "password=",
    "quotes that do not close": 'password="',
    "escapes": 'password=\\"\\',
    "URLs": "a://b:c",
    "at signs": "a@",
    "a name without end": "a",
    "dots": "a.",
    "domains": "a@b.",
    "digits": "4",
    "digits in groups": "4111 ",
    "tokens": "eyJhbGciOi",
    "headers": "bearer ",
    "percent": "%40",
    "colons": ":",
    "odd characters": "\u200b",
    "wide": "Ａ",
    "marks": "‹email-",
}


def work(text: str) -> int:
    """Rounds of replacing, and calls of Python functions, that redacting the text takes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(count)
    try:
        redacted(text, addresses=True)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("piece", UNKIND.values(), ids=UNKIND)
def test_twice_the_text_is_at_most_twice_the_work(piece: str) -> None:
    small, large = piece * (5_000 // len(piece)), piece * (10_000 // len(piece))
    assert work(large) <= 2.2 * work(small) + 400


@pytest.mark.parametrize("piece", UNKIND.values(), ids=UNKIND)
def test_much_of_anything_comes_to_an_end(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    answer = redacted(text, addresses=True)
    assert redacted(answer, addresses=True) == answer
