"""The URL of the state store, parsed and checked before anything connects.

PostgreSQL:   postgresql://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/path/ca.pem
Aurora DSQL:  dsql://[user@]endpoint[?region=…&profile=…&sslrootcert=…]; the user is `admin` by default, the password is
              a new IAM token for every connection, TLS is always verified, the database is always `postgres`
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Flavour = Literal["postgresql", "dsql"]

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DSQL_PORT = POSTGRES_PORT = 5432
DSQL_OPTIONS = ("region", "profile", "sslrootcert", "sslmode")
_ENDPOINT = re.compile(r"[a-z0-9-]+\.dsql[a-z0-9-]*\.(?P<region>[a-z0-9-]+)\.on\.aws")
_CLUSTER_ID = re.compile(r"[a-z0-9]{26}")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A PostgreSQL. `hosts` are names or addresses with ports, tried in order; empty for a local socket. `verified`:
    its certificate is verified."""

    url: str
    place: str
    hosts: tuple[tuple[str, int], ...]
    database: str
    verified: bool
    flavour: Flavour = "postgresql"


@dataclass(frozen=True, slots=True)
class DsqlAddress:
    """An Aurora DSQL cluster. `ca_file`: certificates to trust instead of the system's."""

    place: str
    host: str
    port: int
    user: str
    region: str
    profile: str | None
    ca_file: str | None
    database: str = "postgres"
    verified: bool = True
    flavour: Flavour = "dsql"

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """The one endpoint."""
        return ((self.host, self.port),)


StoreAddress = PostgresAddress | DsqlAddress


def store_address(url: str) -> StoreAddress:
    """Parse a store's URL. ValueError: one sentence that says what is wrong, without the password."""
    parts = urlsplit(url)
    if parts.scheme == "dsql":
        return _dsql(parts)
    if parts.scheme in ("postgresql", "postgres"):
        return _postgres(url, parts)
    raise ValueError("it must start with postgresql:// or dsql://")


def _postgres(url: str, parts: SplitResult) -> PostgresAddress:
    options = _options(parts)
    if (mode := options.get("sslmode")) is not None and mode not in SSL_MODES:
        raise ValueError(f"sslmode={mode} is unknown: choose one of {', '.join(SSL_MODES)}")
    named = parts.netloc.rpartition("@")[2] or options.get("host", "")
    hosts = () if named.startswith("/") else tuple(_host_port(h) for h in named.split(",") if h)
    if any(_ENDPOINT.fullmatch(host) for host, _ in hosts):
        raise ValueError("this is an Aurora DSQL endpoint: write dsql:// instead of postgresql://")
    database = unquote(parts.path.lstrip("/")) or options.get("dbname") or options.get("database") or ""
    place = f"{named or 'the local socket'}/{database}"
    return PostgresAddress(url, place, hosts, database, verified=mode in SSL_MODES[-2:])


def _dsql(parts: SplitResult) -> DsqlAddress:
    options = _options(parts)
    if unknown := sorted(options.keys() - set(DSQL_OPTIONS)):
        raise ValueError(f"a dsql:// URL has no option {', '.join(unknown)}: choose from {', '.join(DSQL_OPTIONS)}")
    if options.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("Aurora DSQL requires sslmode=verify-full")
    if parts.password is not None:
        raise ValueError("a dsql:// URL has no password: every connection uses a new IAM token")
    if parts.path not in ("", "/", "/postgres"):
        raise ValueError("Aurora DSQL has one database, postgres: omit the path")
    host, port = _host_port(parts.netloc.rpartition("@")[2], DSQL_PORT)
    region = options.get("region", "")
    if _CLUSTER_ID.fullmatch(host) and region:
        host = f"{host}.dsql.{region}.on.aws"
    endpoint = _ENDPOINT.fullmatch(host)
    if endpoint is None:
        raise ValueError(
            f"{host or 'an empty name'} is not an Aurora DSQL endpoint: write CLUSTER.dsql.REGION.on.aws, "
            "or the cluster's id and ?region=REGION"
        )
    if region and region != endpoint["region"]:
        raise ValueError(f"the endpoint is in {endpoint['region']}, not in region={region}")
    user = unquote(parts.username or "") or "admin"
    return DsqlAddress(
        place=host if port == DSQL_PORT else f"{host}:{port}",
        host=host,
        port=port,
        user=user,
        region=endpoint["region"],
        profile=options.get("profile"),
        ca_file=options.get("sslrootcert"),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    try:
        return dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise ValueError("the part after ? must be name=value&name=value") from error


def _host_port(text: str, default: int = POSTGRES_PORT) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not port:
        return unquote(host), default
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{port!r} is not a port")
    return unquote(host), int(port)
