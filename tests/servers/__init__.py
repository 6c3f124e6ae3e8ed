"""Private database servers for tests: on free ports, in temporary folders, never left behind.

    import servers

    @pytest.fixture
    def url() -> Iterator[str]:
        server = servers.postgres()  # starts it, once in each test process; or skips the test
        url = servers.fresh(server)  # an empty database of its own
        yield url
        servers.drop(server, url)

``kill()``, ``start()``, ``stop()``, ``freeze()`` and ``thaw()`` break it and mend it; who asks
for it next gets it mended.  With pytest-xdist every worker has servers of its own, so a test
that kills one disturbs nobody.

``DURABLE_TEST_POSTGRES``, ``_MYSQL``, ``_REDIS`` and ``_REDIS_CLUSTER`` name servers to use in
their place; those are not killed.  What is missing skips a test, and fails it under ``CI`` or
``DURABLE_TEST_ALL=1``.
"""

from __future__ import annotations

import atexit
import os
from typing import TypeVar

import pytest

from servers.base import Server
from servers.redis_servers import Redis, RedisCluster
from servers.sql_servers import MariaDB, Postgres

__all__ = [
    "MariaDB",
    "Postgres",
    "Redis",
    "RedisCluster",
    "Server",
    "drop",
    "fresh",
    "fresh_prefix",
    "mariadb",
    "postgres",
    "redis",
    "redis_cluster",
]

AnyServer = TypeVar("AnyServer", bound=Server)

_servers: dict[str, Server] = {}
# Why a server did not start: two hundred tests need not find it out one by one.
_broken: dict[str, str] = {}


def postgres() -> Postgres:
    """The PostgreSQL server of this process, running; skips the test if there can be none."""
    return _running(Postgres)


def mariadb() -> MariaDB:
    """The MariaDB server of this process, running; skips the test if there can be none."""
    return _running(MariaDB)


def redis() -> Redis:
    """The Redis server of this process, running; skips the test if there can be none."""
    return _running(Redis)


def redis_cluster(replicas: int = 0) -> RedisCluster:
    """The Redis Cluster of this process, running; skips the test if there can be none.

    replicas: for each of its three masters. Defaults to none.
    """
    return _running(RedisCluster, replicas=replicas)


def fresh(server: Server) -> str:
    """The URL of a new and empty database; for Redis, of a prefix that nobody has.

    It goes with its server, or with `drop`; from a server that others run, at the end of the
    test session.
    """
    return server.fresh()


def fresh_prefix(server: Server) -> str:
    """The URL of a new and empty store, in a database that such stores of this process share.

    Cheaper than `fresh`: in PostgreSQL a store with its tables takes 50 ms, not 110.
    """
    return server.fresh_prefix()


def drop(server: Server, url: str) -> None:
    """Remove what `fresh` made: a database of PostgreSQL is 7 MB on disk."""
    server.remove(url)


def _running(kind: type[AnyServer], **options: int) -> AnyServer:
    key = f"{kind.title} {options}"
    if key in _broken:
        pytest.fail(f"{kind.title} did not start before: {_broken[key]}")
    try:
        server = _servers.get(key)
        if server is None:
            server = _servers[key] = _new(kind, **options)
        server.mend()
    except Exception as error:
        _broken[key] = str(error)
        raise
    assert isinstance(server, kind)
    return server


def _new(kind: type[AnyServer], **options: int) -> AnyServer:
    url = os.environ.get(kind.variable, "")
    if missing := kind.missing_driver() if url else kind.missing():
        if _is_strict():
            pytest.fail(f"MISSING {missing}", pytrace=False)
        pytest.skip(f"MISSING {missing}")
    server = kind(url, **options)
    # Before the folder of all goes, as what was registered later is done earlier.
    atexit.register(_close, server, os.getpid())
    return server


def _close(server: Server, owner: int) -> None:
    # A fork inherits what is to be done at the exit.
    if os.getpid() == owner:
        server.close()


def _is_strict() -> bool:
    flags = (os.environ.get(name, "").lower() for name in ("CI", "DURABLE_TEST_ALL"))
    return any(flag not in ("", "0", "false") for flag in flags)
