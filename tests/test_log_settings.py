"""[clusters.logs]: what an operator may write, and what they are told."""

from pathlib import Path

import pytest

from copilot.errors import SettingsError
from copilot.logs.lines import LogLine
from copilot.logs.patterns import PatternBook
from copilot.settings.load import Settings, load_settings

LOKI = '[clusters.logs.loki]\nurl = "http://l"\nquery = \'{a="b"}\'\n'
CLUSTER = '[[clusters]]\nname = "prod"\n[clusters.temporal]\naddress = "127.0.0.1:7233"\n'


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "copilot.toml"
    file.write_text(CLUSTER + text)
    return load_settings(file)


def problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, text)
    return "\n".join(error.value.problems)


def test_files_and_a_pattern_of_ones_own(tmp_path: Path) -> None:
    logs = loaded(
        tmp_path,
        """
        [clusters.logs]
        files = ["/var/log/temporal/*.log"]
        [[clusters.logs.patterns]]
        name = "gateway lost"
        regex = 'gw-\\d+ lost'
        level = "warn"
        """,
    ).clusters[0].logs  # fmt: skip
    assert logs is not None
    book = PatternBook([p.pattern() for p in logs.patterns])
    assert book.match(LogLine("gw-7 lost", 4)) == ("gateway lost",)


def test_a_loki_with_all_it_may_need(tmp_path: Path) -> None:
    logs = loaded(
        tmp_path,
        """
        [clusters.logs.loki]
        url = "https://loki.example"
        query = '{namespace="temporal"} |= "error"'
        tenant = "ops|sre"
        basic_user = "ops"
        basic_password_file = "/run/secrets/loki"
        ca_file = "/etc/ca.pem"
        """,
    ).clusters[0].logs  # fmt: skip
    assert logs is not None
    assert logs.loki is not None
    assert (logs.loki.max_entries, logs.loki.delay_sec) == (5000, 5.0)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """
        [clusters.logs.loki]
        url = "loki.example"
        query = 'app'
        tenant = "tén\\u00e4nt"
        [[clusters.logs.patterns]]
        name = "nothing"
        [[clusters.logs.patterns]]
        name = "slow"
        regex = "(a+)+$"
        [[clusters.logs.patterns]]
        name = "broken"
        regex = "("
        [[clusters.logs.patterns]]
        name = "short"
        words = ["x"]
        level = "loud"
        """,
    )
    for part in (
        "clusters.0.logs.loki.url: 'loki.example' is not an http:// or https:// URL",
        "clusters.0.logs.loki.query: ",
        "clusters.0.logs.loki.tenant: a header can hold printable ASCII",
        "clusters.0.logs.patterns.0: pattern 'nothing' needs words or a regex",
        "clusters.0.logs.patterns.1: '(a+)+$' could take very long on some line: a group repeats",
        "clusters.0.logs.patterns.2: '(' is no regular expression",
        "clusters.0.logs.patterns.3.words.0: ",
        "clusters.0.logs.patterns.3.level: ",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[clusters.logs]", "choose one of files and loki"),
        ('[clusters.logs]\nfiles = ["/a.log"]\n' + LOKI, "choose one of files and loki"),
        (LOKI + 'bearer_token = "t"\nbasic_user = "u"\nbasic_password = "p"', "one of bearer_token and basic_user"),
        (LOKI.replace("//l", "//u:p@l"), "put user and password into basic_user"),
        (LOKI + 'sigv4 = {region = "x"}', "sigv4"),
        (
            '[clusters.logs]\nfiles = ["/a.log"]\n'
            + '[[clusters.logs.patterns]]\nname = "twice"\nwords = ["abc"]\n' * 2,
            "two patterns are named twice",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(tmp_path: Path, text: str, why: str) -> None:
    assert why in problems(tmp_path, text)
