"""Checks an Aurora DSQL connection token as AWS would: a presigned request whose signature is computed anew by hand."""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from whenever import Instant, PlainDateTime

NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Token:
    """What a valid token says."""

    access_key: str
    action: str
    host: str
    region: str
    made: Instant


class Refused(Exception):
    """The token is no good; the text says why."""


def checked(token: str, secrets: dict[str, str], now: Instant) -> Token:
    """Read a token. Refused if it is not signed by one of the keys, or has run out."""
    parts = urlsplit(f"https://{token}")
    fields = dict(parse_qsl(parts.query))
    signature = fields.pop("X-Amz-Signature", "")
    access_key, day, region, service, kind = fields.get("X-Amz-Credential", "////").split("/")
    if access_key not in secrets:
        raise Refused(f"the key {access_key!r} is not known")
    request = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(fields.items()))
    canonical = f"GET\n{parts.path}\n{request}\nhost:{parts.netloc}\n\nhost\n{NOTHING}"
    scope = f"{day}/{region}/{service}/{kind}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{fields['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{secrets[access_key]}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), signature):
        raise Refused("the signature does not match")
    made = PlainDateTime.parse(fields["X-Amz-Date"], pattern="YYYYMMDD'T'HHmmss'Z'").assume_utc()
    if service != "dsql" or now > made.add(seconds=int(fields["X-Amz-Expires"])):
        raise Refused("the token has run out")
    return Token(access_key, fields["Action"], parts.netloc, region, made)
