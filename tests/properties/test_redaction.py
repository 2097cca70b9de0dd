"""Property 18: redaction is idempotent, and total over generated secrets wherever they stand."""

import hashlib
import re
import string
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.redaction.confusables import made_plain
from copilot.redaction.redactor import PLACEHOLDER_PATTERN, Redactor, redacted, redacted_name

BASE62 = string.ascii_letters + string.digits
SYMBOLS = BASE62 + "!#$%*+,./:?@^_|~-"


def drawn(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    """Text that looks drawn at random, as secrets do and examples that hypothesis shrinks do not."""

    def make(seed: int, length: int) -> str:
        noise = hashlib.shake_256(f"{seed}".encode()).digest(2 * length)
        return "".join(alphabet[int.from_bytes(noise[2 * i : 2 * i + 2]) % len(alphabet)] for i in range(length))

    return st.builds(make, st.integers(0, 2**64), st.integers(least, most))


def prefixed(prefix: str, alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return drawn(alphabet, least, most or least).map(lambda rest: prefix + rest)


UPPER = string.ascii_uppercase + string.digits
URL = BASE62 + "-_"
KNOWN = st.one_of(
    prefixed("AKIA", UPPER, 16),
    prefixed("ASIA", UPPER, 16),
    prefixed("AIza", URL, 35),
    prefixed("ya29.", URL, 40, 80),
    prefixed("ghp_", BASE62, 36),
    prefixed("github_pat_", BASE62, 40, 82),
    prefixed("glpat-", URL, 20),
    prefixed("xoxb-", string.digits + "-" + BASE62, 30, 60),
    prefixed("sk_live_", BASE62, 24),
    prefixed("rk_test_", BASE62, 24),
    prefixed("sk-ant-api03-", URL, 40, 90),
    prefixed("hvs.", URL, 24, 90),
    prefixed("npm_", BASE62, 36),
    st.tuples(drawn(URL, 20, 60), drawn(URL, 43, 43)).map(lambda t: f"eyJhbGciOiJIUzI1NiJ9.eyJ{t[0]}.{t[1]}"),
    drawn(BASE62 + "+/", 40, 88),
    drawn(URL, 40, 88),
)
ANY = st.one_of(KNOWN, drawn(SYMBOLS, 8, 40).filter(lambda s: s[0] not in "[\\" and "‹" not in s))
BEFORE = st.sampled_from(
    ["", "log line: ", "ERROR\t", "näive café – ", '{"level":"error","msg":"', "a=b ", "\n", "(", "x‹email-1› "]
)
AFTER = st.sampled_from(["", " rest", "\n", "\t|", " ‹aws-1›"])
KEYS = st.sampled_from([
    "password", "DB_PASSWORD", "clientSecret", "api_key", "X-Api-Token", "aws_secret_access_key", "passwd",
    "AccountKey", "private_key",
])  # fmt: skip
EQUALS = st.sampled_from(["=", ": ", ":", " = ", "%3D", " := ", "=>"])


def leaks(secret: str, text: str) -> bool:
    """Whether eight characters of the secret that follow each other are there still."""
    bare = made_plain(text).text
    return any(secret[i : i + 8] in bare for i in range(max(1, len(secret) - 7)))


def check(text: str, secret: str) -> None:
    answer = redacted(text)
    assert not leaks(secret, answer), answer
    assert redacted(answer) == answer


@given(BEFORE, KNOWN, AFTER)
def test_18_a_known_form_is_found_anywhere(before: str, secret: str, after: str) -> None:
    check(before + secret + after, secret)


@given(BEFORE, KEYS, EQUALS, ANY.filter(lambda s: not set(s) & set("&;'\"")), AFTER)
def test_18_a_value_of_a_telling_key_is_found(before: str, key: str, equals: str, secret: str, after: str) -> None:
    check(f"{before} {key}{equals}{secret}{after}", secret)


@given(BEFORE, KEYS, st.text(SYMBOLS + " &;'{}", min_size=8, max_size=40), st.integers(0, 2))
def test_18_a_quoted_value_of_a_telling_key_is_found(before: str, key: str, secret: str, escapes: int) -> None:
    quote = {0: '"', 1: '\\"', 2: '\\\\"'}[escapes]
    text = f"{before}{{{quote}{key}{quote}:{quote}{secret}{quote},{quote}next{quote}:1}}"
    answer = redacted(text)
    assert f"{quote}{secret}{quote}" not in answer
    assert "next" in answer
    assert redacted(answer) == answer


@given(
    BEFORE,
    st.sampled_from(["postgres", "https", "amqp", "mongodb+srv", "redis"]),
    drawn(SYMBOLS, 6, 40).filter(lambda s: not re.match(r"\d+[/?#]", s)),
    st.booleans(),
)
def test_18_a_password_in_a_url_is_found(before: str, scheme: str, secret: str, encoded: bool) -> None:
    colon, slashes, at = ("%3A", "%3A%2F%2F", "%40") if encoded else (":", "://", "@")
    answer = redacted(f"{before}{scheme}{slashes}app{colon}{secret}{at}db.internal/orders and more")
    assert not leaks(secret, answer), answer
    assert answer.endswith("and more")
    assert redacted(answer) == answer


@given(st.sampled_from(["Bearer", "bearer", "Basic", "BASIC"]), drawn(BASE62 + "-._~+/", 12, 60), BEFORE, st.booleans())
def test_18_credentials_of_a_request_are_found(scheme: str, secret: str, before: str, header: bool) -> None:
    check(f"{before}{'Authorization: ' if header else ''}{scheme} {secret}", secret)


@given(
    st.sampled_from(["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]),
    st.lists(drawn(BASE62 + "+/", 64, 64), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n", "\\n", "\\\\n", "\n    ", "%0A", "\n2026-11-22T10:00:00Z history | "]),
    st.booleans(),
)
def test_18_a_private_key_is_found_however_its_lines_break(kind: str, lines: list[str], broken: str, cut: bool) -> None:
    end = "" if cut and "|" not in broken else f"{broken}-----END {kind}-----"
    text = f"loaded -----BEGIN {kind}-----{broken}{broken.join(lines)}{end}"
    answer = redacted(text)
    assert not any(leaks(line, answer) for line in lines), answer
    assert redacted(answer) == answer


@given(
    KNOWN,
    st.sampled_from(["\u200b", "\u00ad", "\x00", "\x1b[0m", "\u2060", "\u202e", "\ufe0f", "\ufffd"]),
    st.integers(1, 19),
)
def test_18_invisible_characters_hide_nothing(secret: str, hidden: str, place: int) -> None:
    check(f"seen {secret[:place]}{hidden}{secret[place:]} here", secret)


@given(KNOWN)
def test_18_wide_letters_hide_nothing(secret: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in secret)
    check(f"seen {wide} here", secret)


@given(
    st.from_regex(r"[a-z][a-z0-9._+-]{0,20}[a-z0-9]", fullmatch=True),
    st.sampled_from(["@", "%40"]),
    st.sampled_from(["example.com", "a.b.co.uk", "büro.example.de"]),
    BEFORE,
)
def test_18_an_e_mail_address_is_found(name: str, at: str, domain: str, before: str) -> None:
    answer = redacted(f"{before} {name}{at}{domain} wrote")
    assert f"{name}{at}" not in answer
    assert redacted(answer) == answer


@given(
    st.sampled_from("3456"), st.text("0123456789", min_size=14, max_size=14), st.sampled_from(["", " ", "-"]), BEFORE
)
def test_18_a_card_number_is_found(first: str, digits: str, gap: str, before: str) -> None:
    body = first + digits
    doubled = sum(sum(divmod(int(d) * 2, 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    number = body + str(-doubled % 10)
    shown = gap.join(number[i : i + 4] for i in range(0, 16, 4))
    assert shown not in redacted(f"{before}card {shown}, thanks")


@settings(max_examples=80)
@given(st.text(st.characters(), max_size=200))
def test_18_redaction_of_any_text_is_idempotent(text: str) -> None:
    answer = redacted(text, addresses=True)
    assert redacted(answer, addresses=True) == answer
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in answer if c not in "\t\n")
    assert "\n" not in redacted_name(text).encode().decode()


PIECES = [
    "password=", "Bearer ", "://", "u:", "p@", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN A-----", "-----END A-----",
    "‹email-1›", "‹", "›", '"', "\\", "eyJhbGciOiJI", ".", "=", "@x.org", " ", "\n", "4111111111111111", "%40", "%3A",
    "token", ":", "'", "10.0.0.1", "\u200b",
]  # fmt: skip


@settings(max_examples=80)
@given(st.lists(st.sampled_from(PIECES), max_size=24))
def test_18_redaction_of_mixed_pieces_is_idempotent(pieces: list[str]) -> None:
    answer = redacted("".join(pieces), addresses=True)
    assert redacted(answer, addresses=True) == answer


@given(KNOWN, KNOWN)
def test_18_a_bundle_names_the_same_secret_alike(one: str, other: str) -> None:
    redactor = Redactor()
    first, again, second = (redactor.redact(f"see {s} there") for s in (one, one, other))
    assert first == again
    assert (first == second) == (one == other)


@given(KNOWN, st.sampled_from(["", "orders-", "billing/", "password="]))
def test_18_a_name_is_redacted_as_any_text_is_and_stays_as_it_then_is(secret: str, before: str) -> None:
    name = f"{before}{secret}"
    once = redacted_name(name, addresses=True)
    assert redacted_name(once, addresses=True) == redacted(once, addresses=True) == once
    assert PLACEHOLDER_PATTERN.sub("*", once) == PLACEHOLDER_PATTERN.sub("*", redacted(name, addresses=True))
