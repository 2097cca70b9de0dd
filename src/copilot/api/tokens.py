"""Tokens by which callers are known. Only their hashes are kept: a token is shown once, when it is made.

A token holds 256 bits of chance, so one round of SHA-256 protects it: there is nothing to guess."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

PREFIX = "cop_"


def new_token() -> str:
    """A token nobody has seen yet."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token, as `[api.tokens]` wants it."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Tokens:
    """The known tokens: names with hashes."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def bearer(self, token: str) -> str | None:
        """The name a token was made for; None if it is not known. Takes as long for one as for another."""
        shown = token_hash(token)
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(shown, known)]
        return names[0] if names else None
