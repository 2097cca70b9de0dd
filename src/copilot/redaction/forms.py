"""The forms of secrets: patterns of known kinds, and tokens that look random."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}+={0,2}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_HEX = re.compile(r"(?:0x|v|sha|h1)?(?:[0-9a-f]+|[0-9A-F]+)")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_POD = re.compile(r"[a-z0-9]{1,12}|[a-z]+")
_PART = re.compile(r"[A-Za-z0-9]+")
# The pairs of letters in nine tenths of English words and of names in source code.
_USUAL = frozenset(
    "ab ac ad af ag ai al am an ap ar as at au aw ba be bl bo ca ce ch ck cl co cr cs ct da de di do ds ea ec ed ee ef "
    "el em en ep er es et eu ev ew ex fa fi fl fo fr ga ge gn gs ha he hi ho ic id ie ig il im in io ir is it iv ke kf "
    "la ld le lf li ll lo ls lt lu ma me mi mo mp na nc nd ne ng ni nn no ns nt oa oc od og oi ol om on oo op or os ot "
    "ou ow pa pe pi pl po pr pt qu ra rd re ri rk rn ro rr rs rt ru rv ry sa sc se sh si sk so sp ss st su sy ta tc te "
    "th ti to tr ts tt tu ty ua ue ul um un up ur us ut va ve vi wa we wh wi wn wo xt yn".split()
)
MIN_USUAL = 0.5
"""The share of neighboring characters that form pairs as in words or numbers. Random letters and digits reach 0.17,
words 0.8 and more."""
MIN_LENGTH = 20
_MAX_JUDGED = 400


def high_entropy(text: str) -> Iterator[tuple[int, int]]:
    """Spans of tokens of at least 20 characters that look random. UUIDs, hexadecimal digests, ULIDs, paths and names
    made of words do not."""
    for match in _RUN.finditer(text):
        run = match.group()
        if random_looking(_UUID.sub("", run) if "-" in run else run):
            yield match.span()


def random_looking(token: str) -> bool:
    """Whether a token resembles random letters and digits more than words and numbers."""
    token = token.strip("=_-/+")
    if len(token) < MIN_LENGTH or _HEX.fullmatch(token) or _ULID.fullmatch(token):
        return False
    parts = _PART.findall(token)
    if len(parts) > 1 and all(_POD.fullmatch(p) or _HEX.fullmatch(p) for p in parts):
        return False
    together = pairs = 0
    for whole in parts:
        part = whole[:_MAX_JUDGED]
        if _HEX.fullmatch(part) and len(part) >= 7 and part != token:
            continue
        for a, b in pairwise(part):
            pairs += 1
            if (a.isdigit() and b.isdigit()) or (
                a.isalpha() and b.isalpha() and not (a.islower() and b.isupper()) and (a + b).lower() in _USUAL
            ):
                together += 1
    return pairs >= 12 and together < MIN_USUAL * pairs


PLACEHOLDER = r"‹(?:aws|cloud|service|jwt|credential|private-key|password|secret|email|card|address|token)-\d{1,6}›"


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a secret. `hints`: the text is searched only if it contains one of these (in lower case)."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]


_EQUALS = r"\\{0,3}[\"']?\s{0,4}(?::=|=>|[:=]|%3[dDaA])\s{0,4}"
_QUOTED = (
    r"\\{1,3}\"(?P<secret>(?:[^\"\\\n]|\\\\\\.|\\(?!\").)*+)|\"(?P<secret3>(?:[^\"\\\n]|\\.)*+)|"
    r"\\{0,3}'(?P<secret1>(?:[^'\\\n]|\\.)*+)"
)
_BARE = rf"\[?(?P<secret2>(?:{PLACEHOLDER}|[^\s\"'&;‹›\\\[])(?:{PLACEHOLDER}|[^\s\"'&;‹›])*+)"
_STATUS = (
    r"(?!(?:true|false|null|nil|none|invalid|expired|missing|required|empty|not|is|was|no|unknown|denied|error|failed|"
    r"the|a|an|undefined|<nil>|\*+|yes|signature|rejected|refused|too|must|could|cannot|does|has)"
    r"[,.:!?)\]}>\\]*+(?:[\s\"'&;]|$))"
)
_KEYS = (
    r"(?:pass(?:word|wd|phrase|code)|(?<![a-z])pwd|(?<![a-z])pass|secret|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|account[_-]?key|auth[_-]?key|shared[_-]?key|signing[_-]?key|encryption[_-]?key|master[_-]?key|"
    r"license[_-]?key|credentials?|(?<![a-z])sig|signature|(?<![a-z])auth|session[_-]?id|connection[_-]?string|"
    r"authorization|cookie|(?<![a-z])otp|(?<![a-z])pin)"
)
_SUFFIX = r"(?:[_-]?(?:key|value|hash|id|string|data|base64|b64|\d{1,3}))?"


_FORMS = (
    (
        "private-key",
        r"-{4,5}[ +]?BEGIN[A-Za-z0-9 +%]{0,60}-{4,5}"
        r"(?:(?:[^-]|-(?!---)){0,20000}+-{4,5}[ +]?END[A-Za-z0-9 +%]{0,60}-{4,5}"
        r"|(?:[A-Za-z0-9+/=_]{16,}+|\\+[nrt]|%0[AaDd]|%2[BbFf]|%3[Dd]|[\s\"',])*+[A-Za-z0-9+/=_]*+)",
        ("begin",),
    ),
    ("aws", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", ("akia", "asia", "abia", "acca", "a3t")),
    (
        "cloud",
        r"AIza[\w-]{35}|ya29\.[\w.-]{20,}+|GOCSPX-[\w-]{20,}+|[\w~.-]{3}[0-9]Q~[\w~.-]{31,34}"
        r"|do[opr]_v1_[a-f0-9]{64}|LTAI[A-Za-z0-9]{12,20}",
        ("aiza", "ya29.", "gocspx-", "q~", "_v1_", "ltai"),
    ),
    (
        "service",
        r"gh[opusr]_[A-Za-z0-9]{30,}+|github_pat_\w{20,}+|gl[a-z]{2,5}-[\w-]{20,}+|xox[a-z]-[\w-]{10,}+"
        r"|xapp-[\w-]{10,}+|hooks\.slack\.com/(?:services|workflows)/[\w/+-]{20,}+|[srp]k_(?:live|test)_\w{10,}+"
        r"|whsec_[\w+/=]{16,}+|(?<![\w-])sk-[\w-]{20,}+|npm_\w{30,}+|pypi-[\w-]{16,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+"
        r"|(?<![\w-])hf_\w{30,}+|hv[sbr]\.[\w-]{20,}+|(?<!\w)SK[0-9a-f]{32}|shp[a-z]{2}_[a-fA-F0-9]{32}|gls?[ac]_\w{30,}+"
        r"|dapi[a-f0-9]{32}|lin_api_\w{30,}+|ATATT3[\w=-]{20,}+|AGE-SECRET-KEY-1[A-Z0-9]{50,}+"
        r"|[0-9]{8,10}:AA[\w-]{33}|discord(?:app)?\.com/api/webhooks/[0-9]++/[\w-]++",
        ("gh", "gl", "xox", "xapp", "hooks.slack", "k_live", "k_test", "whsec", "sk-", "npm_", "pypi-", "sg.", "hf_")
        + ("hv", "sk", "shp", "dapi", "lin_api", "atatt", "age-secret", ":aa", "discord"),
    ),
    ("jwt", r"eyJ[\w-]{8,}+(?:(?:\.|%2[eE])[\w-]*+){0,4}", ("eyj",)),
    (
        "credential",
        rf"(?i)(?:authorization|x-api-key|x-auth-token|cookie){_EQUALS}\[?(?P<secret>[^\r\n\]\"'}}]{{1,8000}}+)",
        ("authorization", "x-api-key", "x-auth-token", "cookie"),
    ),
    (
        "credential",
        r"(?i)(?<![a-z])(?:bearer|basic|negotiate|apikey|token)(?:\s{1,4}|%20|\+)"
        rf"(?P<secret>(?!{PLACEHOLDER})"
        r"(?!(?-i:[A-Za-z]?[a-z-]{1,30}+)(?![\w~+/=]|\.\w))(?!\d{1,9}+(?![\w~+/=.-]))[\w.~+/-]{6,}+=*)",
        ("bearer", "basic", "negotiate", "apikey", "token"),
    ),
    (
        "password",
        r"(?i)[a-z][a-z0-9+.-]{1,20}(?:://|%3a%2f%2f)(?:[^\s/?#@:\"'<>%‹›]|%(?!3a|2f|40)){0,128}+(?::|%3a)"
        rf"(?P<secret>(?!{PLACEHOLDER}(?:@|%40))(?!\d{{1,5}}(?:[/?#\s\"']|$))"
        r"[^\s\"'<>]{1,512})(?:@|%40)",
        ("://", "%3a%2f%2f"),
    ),
    ("credential", r"(?i)(?:://|%3a%2f%2f)(?P<secret>[^\s/?#@:\"'<>%‹›]{16,}+)(?:@|%40)", ("://", "%3a%2f%2f")),
    (
        "password",
        r"(?i)(?<![\w.])[\w.-]{1,64}:(?P<secret>[^\s\"'<>@‹›]{1,256}+)@(?:tcp|unix|udp)\(",
        ("@tcp(", "@unix(", "@udp("),
    ),
    (
        "secret",
        rf"(?i){_KEYS}{_SUFFIX}{_EQUALS}(?:{_QUOTED}|{_STATUS}{_BARE})",
        ("pass", "pwd", "secret", "token", "key", "credential", "sig", "auth", "session", "cookie", "otp", "pin")
        + ("connection",),
    ),
    (
        "secret",
        r"(?i)(?:--?(?:password|passwd|pass|token|secret|api-key|access-key|user)(?:\s{1,3}|=)|"
        r"(?:password|passphrase|secret|token)\s{1,3}(?:is|was|to)\s{1,3}(?=[\"']|\S*[0-9!@#$%^*]))"
        rf"(?:[\"'](?P<secret>[^\"'\n]{{1,512}}+)|(?P<secret1>(?:{PLACEHOLDER}|[^\s\"'‹›-])(?:{PLACEHOLDER}|[^\s\"'‹›])*+))",
        ("pass", "token", "secret", "-key", "--user", "-user"),
    ),
    (
        "email",
        r"(?<![\w.+%-])(?:[\w.+-]|%(?!40))++(?:@|%40)(?:(?=([\w-]++))\1\.){1,12}(?:[^\W\d_]{2,63}|xn--\w{2,59})(?![\w])",
        ("@", "%40"),
    ),
)
FORMS = tuple(Form(kind, re.compile(pattern), hints) for kind, pattern, hints in _FORMS)
