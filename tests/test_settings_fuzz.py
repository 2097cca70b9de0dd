"""Whatever an operator writes is settings or our error, never a traceback."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from copilot import bootstrap
from copilot.errors import SettingsError
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.settings.load import Settings, load_settings


def loaded(content: bytes) -> Settings:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "copilot.toml"
        path.write_bytes(content)
        return load_settings(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
@example(b"a = " + b"[" * 100_000)
@example(b"\xff\xfe")
def test_any_bytes_are_settings_or_our_error(content: bytes) -> None:
    with suppress(SettingsError):
        loaded(content)


WORDS = [
    *("[[clusters]]", "\n", "[clusters.prometheus]", "[clusters.temporal]", "[store]", "[api]", "name", "url", " = "),
    *("http://", "127.0.0.1", ":9090", "metrics", "role", "server", "[", "]", "{", "}", ",", "port", "99999", "'", '"'),
    *("interval_sec", "window_sec", "nan", "inf", "-1", "5", "selector", 'a="b"', "dialect", "true"),
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_anything_made_of_the_files_own_pieces_is_settings_or_our_error(pieces: list[str]) -> None:
    with suppress(SettingsError):
        loaded("".join(pieces).encode())


URLS = st.one_of(
    st.text(max_size=40).map("http://{}".format),
    st.text(max_size=40).map("https://host/{}".format),
    st.text(alphabet="[]:@/?#%.\\ 0129ax-", max_size=20).map("http://{}".format),
)


@settings(max_examples=100, deadline=None)
@given(URLS)
@example("http://[")
@example("http://")
@example("http://:80")
@example("http://a:99999999")
@example("http://a:b")
@example("http://a b/")
@example("http://a\x00b/")
@example("http://\u0661.example:80")
async def test_any_address_is_refused_by_the_settings_or_can_be_asked(url: str) -> None:
    try:
        endpoint = MetricsEndpoint(url=url, role="server")
        prometheus = PrometheusSettings(url=url)
    except ValidationError:
        return
    cluster = ClusterSettings(metrics=(endpoint,), prometheus=prometheus)
    for source in bootstrap.sources(cluster):
        await source.aclose()
    assert httpx.URL(url).host


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(
        ["COPILOT_API__PORT", "COPILOT_CLUSTERS", "COPILOT_STORE", "COPILOT_STORE__URL", "COPILOT_LOG_LEVEL"]
    ),
    st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
)
@example("COPILOT_CLUSTERS", "[")
@example("COPILOT_STORE", "postgres")
def test_any_environment_is_settings_or_our_error(name: str, value: str) -> None:
    with patch.dict(os.environ, {name: value}), suppress(SettingsError):
        loaded(b"")


@pytest.mark.parametrize("name", ["COPILOT_CLUSTERS", "COPILOT_API", "COPILOT_API__TOKENS"])
def test_what_is_no_json_is_named_as_it_was_written(name: str) -> None:
    values = {"COPILOT_API__HOST": "0.0.0.0", name: "["}
    with patch.dict(os.environ, values), pytest.raises(SettingsError) as refused:
        loaded(b"")
    assert str(refused.value) == f"environment variable {name} is not valid JSON"
