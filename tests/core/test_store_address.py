import pytest

from copilot.settings.store_address import DsqlAddress, PostgresAddress, store_address

ENDPOINT = "abc.dsql.eu-west-1.on.aws"


@pytest.mark.parametrize(
    ("url", "hosts", "place", "database", "verified"),
    [
        ("postgresql://me:pass@db:6432/copilot", (("db", 6432),), "db:6432/copilot", "copilot", False),
        ("postgres://db/copilot?sslmode=verify-full", (("db", 5432),), "db/copilot", "copilot", True),
        ("postgresql://a:1,b:2/x", (("a", 1), ("b", 2)), "a:1,b:2/x", "x", False),
        ("postgresql://[::1]:99/x", (("::1", 99),), "[::1]:99/x", "x", False),
        ("postgresql:///x", (), "the local socket/x", "x", False),
        ("postgresql:///x?host=/run/pg", (), "/run/pg/x", "x", False),
        ("postgresql://?host=db&dbname=y", (("db", 5432),), "db/y", "y", False),
    ],
)
def test_a_postgresql_address_is_read(
    url: str, hosts: tuple[tuple[str, int], ...], place: str, database: str, verified: bool
) -> None:
    found = store_address(url)
    assert isinstance(found, PostgresAddress)
    assert (found.hosts, found.place, found.database, found.verified) == (hosts, place, database, verified)
    assert "pass" not in found.place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"dsql://{ENDPOINT}", (ENDPOINT, 5432, "admin", "eu-west-1", None, None)),
        (f"dsql://sre@{ENDPOINT}/postgres?profile=p", (ENDPOINT, 5432, "sre", "eu-west-1", "p", None)),
        (f"dsql://{ENDPOINT}:99?region=eu-west-1&sslrootcert=/ca", (ENDPOINT, 99, "admin", "eu-west-1", None, "/ca")),
        (f"dsql://{'a1' * 13}?region=us-east-2", (f"{'a1' * 13}.dsql.us-east-2.on.aws", 5432, "admin", "us-east-2", None, None)),  # noqa: E501
        ("dsql://abc.dsql-x7.us-west-2.on.aws", ("abc.dsql-x7.us-west-2.on.aws", 5432, "admin", "us-west-2", None, None)),  # noqa: E501
    ],
)  # fmt: skip
def test_a_dsql_address_is_read(url: str, expected: tuple[object, ...]) -> None:
    found = store_address(url)
    assert isinstance(found, DsqlAddress)
    assert (found.host, found.port, found.user, found.region, found.profile, found.ca_file) == expected
    assert (found.database, found.verified) == ("postgres", True)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://db/x", "start with postgresql:// or dsql://"),
        ("", "start with postgresql:// or dsql://"),
        ("postgresql://db:port/x", "'port' is not a port"),
        ("postgresql://db:70000/x", "'70000' is not a port"),
        ("postgresql://db/x?sslmode=verify", "sslmode=verify is unknown"),
        ("postgresql://db/x?sslmode", "must be name=value"),
        (f"postgresql://admin@{ENDPOINT}/postgres", "write dsql://"),
        (f"dsql://admin:secret@{ENDPOINT}", "has no password"),
        (f"dsql://{ENDPOINT}/copilot", "one database, postgres"),
        (f"dsql://{ENDPOINT}?region=us-east-1", "the endpoint is in eu-west-1"),
        (f"dsql://{ENDPOINT}?sslmode=require", "verify-full"),
        (f"dsql://{ENDPOINT}?regoin=eu-west-1", "has no option regoin"),
        (f"dsql://{'a1' * 13}", "not an Aurora DSQL endpoint"),
        ("dsql://db.example.org", "not an Aurora DSQL endpoint"),
        ("dsql://", "an empty name is not an Aurora DSQL endpoint"),
    ],
)
def test_what_cannot_be_an_address_is_said_without_the_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        store_address(url)
    assert "secret" not in str(caught.value)
