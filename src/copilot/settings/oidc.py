"""`[api.oidc]`: people log in with the company's identity provider. Values only."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from copilot.settings.access import Role
from copilot.settings.sources import HttpUrl, Section, reject

Claim = Annotated[str, Field(min_length=1)]


class OidcSettings(Section):
    """An OpenID Connect provider with which people log in, beside tokens; needs the extra `oidc`, and `public_url` of
    [api], for the provider has to know the address PUBLIC_URL/login/callback. `issuer` as the provider writes it.
    `client_secret`, or that in `client_secret_file`, may be missing for a public client; PKCE is always used.
    `ca_file`: certificates to trust instead of the system's.

    Each value of the claim `groups_claim` (one text or a list) gives the role that `roles` names, the highest counts;
    without any, `default_role`, and without that the login is refused. `name_claim` names people in the log and in what
    they do; where it is missing, their email address or subject does. `name` is shown on the login page, by default the
    issuer's host. A login lasts `session_hours`. Several API processes need one `session_key` of 32 characters or more,
    or that in `session_key_file`; a single one makes its own at each start, which ends all logins, as a change of
    issuer, client or roles does."""

    issuer: HttpUrl
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    ca_file: Path | None = None
    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: Claim = "groups"
    name_claim: Claim = "preferred_username"
    roles: dict[str, Role] = {}
    default_role: Annotated[Role | None, Field(validate_default=True)] = None
    session_hours: Annotated[float, Field(gt=0, le=168)] = 8.0
    session_key: SecretStr | None = None
    session_key_file: Path | None = None

    @field_validator("scopes")
    @classmethod
    def _of_openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        reject({"scopes need openid: without it the provider does not say who it is": "openid" not in scopes})
        return scopes

    @field_validator("client_secret_file", "session_key_file")
    @classmethod
    def _one_of_two(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        name = str(info.field_name).removesuffix("_file")
        reject({f"choose one of {name} and {name}_file": file is not None and info.data.get(name) is not None})
        return file

    @field_validator("session_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        reject({"use 32 characters or more: openssl rand -base64 32": key and len(key.get_secret_value()) < 32})
        return key

    @field_validator("default_role")
    @classmethod
    def _lets_in_somebody(cls, role: Role | None, info: ValidationInfo) -> Role | None:
        without = role is None and info.data.get("roles") == {}
        reject({"no login would be let in: set roles, default_role or both": without})
        return role

    def role_of(self, groups: object) -> Role | None:
        """The highest role that these values of the claim give, else the default one; None: not to be let in."""
        values = groups if isinstance(groups, list) else [groups]
        given = [self.roles[group] for group in values if isinstance(group, str) and group in self.roles]
        return max(given, key=list(Role).index, default=self.default_role)
