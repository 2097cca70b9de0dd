"""How one connection is made: to PostgreSQL as its URL says, to Aurora DSQL with a token of AWS's connector.

The connector makes an IAM token for every connection, from the credentials there are at that moment. Its own `connect`
would do that on the event loop: some 80 ms of a free CPU, and as long as the credentials' source takes (an instance's
role, a program). So its token is made in a thread, and the connection by asyncpg. Nor does its `connect` ask for TLS:
asyncpg would fall back to none. Here verification is always asked for, and no token leaves before it has succeeded.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from copilot.core.errors import StoreError
from copilot.core.store_address import DsqlAddress, StoreAddress
from copilot.store.raw import RawConnection

Connect = Callable[..., Awaitable[RawConnection]]


class CredentialsRefused(StoreError):
    """AWS credentials cannot be found, or no token can be made of them."""


class CertificatesRefused(StoreError):
    """The certificates to trust cannot be read."""


def connect_to(address: StoreAddress) -> Connect:
    """A function that makes connections, with asyncpg.connect's keywords (timeout, connection_class, …).

    It raises what asyncpg and the sockets raise, and StoreError for what stands before them."""
    if isinstance(address, DsqlAddress):
        return _dsql(address)

    async def connect(**keywords: Any) -> RawConnection:
        try:
            return await asyncpg.connect(address.url, **keywords)
        except (FileNotFoundError, ssl.SSLError) as error:
            if address.hosts and getattr(error, "library", "X509") == "X509":
                raise _unreadable(error) from error
            raise
        except asyncpg.ClientConfigurationError as error:
            raise _unreadable(error) from error

    return connect


def _dsql(address: DsqlAddress) -> Connect:
    try:
        from botocore.exceptions import BotoCoreError
        from dsql_core.connection_utils import ConnectionUtilities
    except ImportError as error:
        raise StoreError(
            "dsql:// needs AWS's connector: install it with `pip install 'temporal-sre-copilot[aws]'`"
        ) from error
    asked = {"host": address.host, "port": address.port, "user": address.user, "region": address.region}
    if address.profile is not None:
        asked["profile"] = address.profile

    async def connect(**keywords: Any) -> RawConnection:
        context = _verifying(address.ca_file)
        try:
            made = await asyncio.to_thread(ConnectionUtilities.parse_properties_and_set_token, None, asked, "asyncpg")
        except BotoCoreError as error:
            raise CredentialsRefused(f"no IAM token can be made for {address.place}: {error}") from error
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=made["password"],
            database=address.database,
            ssl=context,
            server_settings={"application_name": made["application_name"]},
            **keywords,
        )

    return connect


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> CertificatesRefused:
    return CertificatesRefused(f"the certificates to trust cannot be read: {error}")
