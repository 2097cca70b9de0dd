"""Every leaf compiled for every dialect is PromQL, and names only metrics the dialect knows (property 19)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.metrics import promql
from copilot.metrics.dialects import DIALECTS, Dialect, dialect_by_name, known_names, raw_name
from copilot.metrics.resolve import leaves_of
from copilot.rules.signals.expressions import START_TIME, Gauge, Leaf, Matcher, Rate, rate, server
from copilot.rules.signals.taxonomy import SPECS
from tests.core.test_dialects import names_on

LEAVES = leaves_of(SPECS.values())
NAMES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
CHILDREN = ("expr", "lhs", "rhs", "vector_selector", "param")
# Families a healthy cluster does not show: lazy ones (reference signals.md §E) and what SQLite does not have.
LAZY = re.compile(
    r"archiver_.*|replication_latency_bucket|nexus_.*|schedule_.*|circuit_breaker_.*|certificates_.*|service_panics|dlq_writes|workflow_(failed|timeout|terminate|cancel)|.*_errors?(_.*)?|sharditem_removed_count|shard_closed_count"
    r"|dlq_message_count|task_write_latency_count|persistence_sql_.*|.*_timeout|failed_workflow_tasks|activity_task_fail|poll_timeouts"
    r"|temporal_(sticky_cache_(miss|total_forced_eviction)|long_request_failure|.*_failed)(_total)?"
)


def selectors(expression: Any) -> Iterator[Any]:
    """All vector selectors of a parsed expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in CHILDREN:
        if (child := getattr(expression, name, None)) is not None:
            yield from selectors(child)
    for child in getattr(expression, "args", None) or ():
        yield from selectors(child)


def everything(leaf: Leaf, dialect: Dialect) -> Iterator[str]:
    yield promql.leaf_promql(leaf, dialect, 60.0)
    yield promql.leaf_query(leaf, dialect, 60.0, [Matcher("cluster", "=", 'a"b\\c\nd')])
    if not isinstance(leaf, Gauge):
        yield promql.new_series_rate(leaf, dialect, 60.0, "up offset 60s")


PAIRS = [(leaf, d) for leaf in LEAVES for d in DIALECTS if d.role == leaf.series.role]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_19_an_expression_names_only_metrics_its_dialect_knows(dialect: Dialect) -> None:
    known = known_names(dialect.role, LEAVES, [])
    known = {name: s for name, s in known.items() if s.dialect == dialect or dialect.prefix == ""}
    for leaf in LEAVES:
        if leaf.series.role != dialect.role:
            continue
        for text in everything(leaf, dialect):
            found = {s.name for s in selectors(promql_parser.parse(text))} - {"up"}
            assert found == {raw_name(leaf, dialect)}
            assert found <= known.keys()


@pytest.mark.parametrize(
    ("page", "dialect"), [("server", "server"), ("worker", "sdk default"), ("worker_suffixed", "sdk suffixed")]
)
def test_19_every_family_but_the_lazy_ones_is_on_a_recorded_page_of_its_dialect(page: str, dialect: str) -> None:
    spoken = dialect_by_name(dialect)
    of_role = [leaf for leaf in LEAVES if leaf.series.role == spoken.role]
    summaries = {raw_name(leaf, spoken) for leaf in of_role if isinstance(leaf, Gauge) and leaf.timer}
    wanted = {raw_name(leaf, spoken) for leaf in of_role} - summaries - {START_TIME}  # the program's, not the SDK's
    lacking = {name for name in wanted - names_on(page) if not LAZY.fullmatch(name)}
    assert lacking == set()


OTHERS = {d: {raw_name(leaf, o) for leaf, o in PAIRS if o != d} - {raw_name(leaf, d) for leaf, e in PAIRS if e == d}
          for d in DIALECTS}  # fmt: skip
"""Names that only other dialects know."""


@given(st.sampled_from(PAIRS), st.floats(1, 3600), st.sampled_from(["", "acme_"]))
def test_19_whatever_the_window_and_the_prefix_an_expression_parses_and_names_no_other_dialects_metric(
    pair: tuple[Leaf, Dialect], window: float, prefix: str
) -> None:
    leaf, dialect = pair
    spoken_here = replace(dialect, prefix=prefix)
    texts = [promql.leaf_promql(leaf, spoken_here, window), promql.leaf_query(leaf, spoken_here, window)]
    if not isinstance(leaf, Gauge):
        texts.append(promql.new_series_rate(leaf, spoken_here, window, "up"))
    for text in texts:
        names = {s.name for s in selectors(promql_parser.parse(text))} - {"up"}
        assert names == {prefix + raw_name(leaf, dialect)}
        assert not {name.removeprefix(prefix) for name in names} & OTHERS[dialect]


def test_19_all_leaves_of_the_taxonomy_are_tried_in_all_dialects() -> None:
    assert {d for _, d in PAIRS} == set(DIALECTS)
    assert {leaf for leaf, _ in PAIRS} == set(LEAVES)
    assert len(PAIRS) > 400


@given(st.sampled_from(PAIRS), st.text(), st.floats(0.001, 10_000))
def test_whatever_a_label_holds_the_expression_parses_and_means_it(
    pair: tuple[Leaf, Dialect], value: str, window: float
) -> None:
    leaf, dialect = pair
    value = value.encode("utf-8", "ignore").decode().replace("\r", "")
    text = promql.leaf_query(leaf, dialect, window, [Matcher("cluster", "=", value)])
    [selector] = selectors(promql_parser.parse(text))
    assert value in {m.value for m in selector.matchers.matchers if m.name == "cluster"}


@given(st.lists(st.tuples(st.sampled_from(["a", "b_c"]), st.sampled_from(["=", "!="]), st.text()), max_size=4))
def test_matchers_read_back_what_is_written(found: list[tuple[str, Any, str]]) -> None:
    matchers = tuple(Matcher(*m) for m in found)
    written = promql.selector("", matchers)
    assert promql.parse_matchers(written.removeprefix("{").removesuffix("}")) == matchers


@pytest.mark.parametrize("text", ["cluster", 'cluster="a', 'a="b" c="d"', '__name__="x"', 'a=~"("', "{}"])
def test_what_is_no_list_of_matchers_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        promql.parse_matchers(text)


def test_joined_and_grouped_expressions_parse_and_a_renamed_namespace_is_used_throughout() -> None:
    dialect = Dialect("x", "server", namespace="exported_namespace")
    leaf = Rate(server("poll_success", "namespace!=system"), ("namespace", "taskqueue"))
    text = promql.leaf_query(leaf, dialect, 30.0)
    assert text == 'sum by (exported_namespace, taskqueue) (rate(poll_success{exported_namespace!="system"}[30s]))'
    joined = promql.join_expressions([("0", text), ("1", promql.leaf_query(rate("other"), dialect, 30.0))])
    assert {s.name for s in selectors(promql_parser.parse(joined))} == {"poll_success", "other"}
    assert NAMES.fullmatch(promql.TAG)
