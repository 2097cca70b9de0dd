"""Who has access to the API and the page: roles, and the long form of a token. Values only."""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator

from copilot.settings.sources import Name, Section, valid

_HASH = "not a hash of a token; `copilot token new NAME` prints the line to put here"
TokenHash = Annotated[str, valid(re.compile(r"sha256:[0-9a-f]{64}").fullmatch, _HASH)]


class Role(StrEnum):
    """What a caller may do, from less to more: a viewer reads; an operator also acknowledges, silences, notes and
    reports changes; an admin may do the same (nothing is reserved for admins yet)."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def acts(self) -> bool:
        """Whether requests that do more than read are answered."""
        return self is not Role.VIEWER


class TokenSettings(Section):
    """A token: its hash, its role, and the clusters that it is limited to (empty: all of them)."""

    hash: TokenHash
    role: Role = Role.VIEWER
    clusters: tuple[str, ...] = ()


def _long_form(given: Any) -> Any:
    """The hash alone is a viewer of all clusters."""
    return {"hash": given} if isinstance(given, str) else given


Tokens = dict[Name, Annotated[TokenSettings, BeforeValidator(_long_form)]]
ChangeTokens = dict[Name, TokenHash]
