"""The driver's types, which are generic for the type checker and not when they run."""

from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    RawConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    RawConnection = asyncpg.Connection
    Connection = asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool
