"""Stores: `open_store` makes one from an address, loading only what that address needs.

============================  ===========================================================
``memory://``                 a store of its own, in this process
``memory://name``             the store of that name in this process
``sqlite:///orders.db``       a file in the current directory
``sqlite:////var/orders.db``  a file by its full path
``postgresql://host/name``    a PostgreSQL database; needs the extra ``postgresql``
``mysql://host/name``         a MySQL or MariaDB database; ``mariadb://`` is the same
``redis://host:6379/0``       a Redis server, and the number of its database
``rediss://host:6379/0``      the same over TLS
``redis+cluster://host:6379`` a Redis Cluster, by any of its nodes; ``rediss+cluster://`` over
                              TLS
============================  ===========================================================

Options stand behind a ``?`` or are given by name: see `open_store`, which also takes the Peewee
database of an application.
"""

from __future__ import annotations

import difflib
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from durable.errors import UsageError
from durable.store import Store

if TYPE_CHECKING:
    from peewee import Database

__all__ = ["open_store", "redact"]

DAY = 24 * 3600
"""Drivers take no time that is much longer."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")
_HOST = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*)(:\d{1,5})?")
_SERVER = re.compile(r"(\[[^]]+\]|[^:,/]+)(:\d{1,5})?")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_SECRET = re.compile(r"([?&][^=&]*(?:password|passwd|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)

LAST_PORT = 65_535


def open_store(url: str | Database, **options: object) -> Store:
    """The store at an address; `Store.open` makes it ready to use.

    url: an address, or the Peewee ``Database`` of an application (a pool, a proxy): the store is
    in that database then. It has connections of its own, with settings of its own, made with
    the parameters of yours; but what a client asks for inside ``db.atomic()`` is part of that
    transaction.

    Options, in the address (``?busy_timeout=5``) or by name:

    * ``prefix``: what the names of its tables or keys begin with, so that several
      applications can share a database. Defaults to ``durable_``, on Redis to ``durable``.
    * ``schema`` (PostgreSQL): where its tables are; it is made if it is not there. Defaults to
      the first on the ``search_path``.
    * ``synchronous``: ``full``: what was acknowledged survives a power failure; ``normal``:
      a power failure may take the last commits. Defaults to ``full``.
    * ``busy_timeout``: seconds to wait for other writers of a file. Defaults to 10.
    * ``timeout``: seconds to wait for a lock of a database server, or for a connection to it;
      a statement may take three times as long. On Redis, seconds to wait for each answer.
      Defaults to 10.
    * ``ssl``: ``off``; ``on``: connections to MySQL are encrypted, and the server is verified;
      or the file with the authorities by which it is. Defaults to ``off``.
    * ``allow_loss`` (Redis): ``yes`` to use a server that may lose what it has acknowledged:
      one without ``appendonly``, or that evicts keys. Defaults to ``no``.
    * ``max_inbox``: how many messages may wait for one instance. Defaults to 100,000.

    Raises `UsageError` if the address is wrong; no message shows a password.
    """
    if not isinstance(url, str):
        return _of_database(url, options)
    scheme, found, rest = url.partition("://")
    if not found:
        raise UsageError(
            f"{redact(url)!r} is not the address of a store: that begins with {_known()}"
        )
    backend = _BACKENDS.get(scheme)
    if backend is None:
        raise UsageError(
            f"no store has the scheme {scheme!r}{_did_you_mean(scheme, _BACKENDS)}; there are"
            f" {_known()}"
        )
    if not rest.startswith("/"):
        _check_server(url, rest)
    place, _, query = rest.partition("?")
    given: dict[str, object] = dict(parse_qsl(query, keep_blank_values=True))
    given.update(options)
    return backend.make(redact(url), place, _checked(given, backend.options))


def _of_database(given: Any, options: Mapping[str, object]) -> Store:
    from durable.stores.peewee_databases import kind_of, store_in

    database, kind = kind_of(given)
    return store_in(database, kind, _checked(options, _BACKENDS[kind].options))


def redact(url: str) -> str:
    """An address without its password, to be shown."""
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "", url
    if not rest.startswith("/"):
        # An unquoted password may have any sign in it: it ends at the last @.
        place, mark, query = rest.partition("?")
        if "@" in query:
            place, mark, query = rest, "", ""
        user, at, host = place.rpartition("@")
        name, colon, _ = user.partition(":")
        rest = f"{name}{':***' if colon else ''}{at}{host}{mark}{query}"
    return _SECRET.sub(r"\1***", f"{scheme}{found}{rest}")


def _check_server(url: str, rest: str) -> None:
    """Refuse what a driver would take apart in its own way, and then show parts of it."""
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    login, _, hosts = authority.rpartition("@")
    if rest.count("@") > authority.count("@") or "@" in login or _BARE_PERCENT.search(login):
        raise UsageError(
            f"{redact(url)}: in a user's name and password write / as %2F, ? as %3F, @ as %40 and"
            " % as %25"
        )
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if not found or int((found[2] or ":0")[1:]) > LAST_PORT:
            raise UsageError(f"{redact(url)}: {host!r} is not host, or host:port")


# -- options ----------------------------------------------------------------------------


def _checked(given: Mapping[str, object], known: Mapping[str, Callable[[str, Any], Any]]) -> Any:
    for name in given:
        if name not in known:
            raise UsageError(
                f"this store has no option {name!r}{_did_you_mean(name, known)}; it has"
                f" {', '.join(sorted(known))}"
            )
    return {name: known[name](name, value) for name, value in given.items()}


def _name(name: str, value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UsageError(
            f"{name}={value!r}: a {name} begins with a letter or _, and has at most 31 letters,"
            " digits and _"
        )
    return value


def _synchronous(name: str, value: object) -> str:
    if value not in ("full", "normal"):
        raise UsageError(f"{name}={value!r}: it is full or normal")
    return str(value)


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds <= DAY:
        raise UsageError(f"{name}={value!r}: it is a number of seconds, at most a day ({DAY})")
    return seconds


def _timeout(name: str, value: Any) -> float:
    seconds = _seconds(name, value)
    if not seconds:  # for servers it would mean: for ever
        raise UsageError(f"{name}={value!r}: it is more than 0 seconds")
    return seconds


def _yes(name: str, value: object) -> bool:
    found = {"yes": True, "no": False, True: True, False: False}.get(value)
    if found is None:
        raise UsageError(f"{name}={value!r}: it is yes or no")
    return bool(found)


def _ssl(name: str, value: object) -> str:
    if value in ("off", "on") or (isinstance(value, str) and os.path.isfile(value)):
        return str(value)
    raise UsageError(f"{name}={value!r}: it is off, on, or a file with authorities")


def _count(name: str, value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise UsageError(f"{name}={value!r}: it is a number from 1 on")
    return count


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known() -> str:
    *others, last = (f"{scheme}://" for scheme in sorted(_BACKENDS))
    return f"{', '.join(others)} or {last}"


# -- backends ---------------------------------------------------------------------------

_named: dict[str, Store] = {}
_naming = threading.Lock()


def _memory(url: str, place: str, options: dict[str, Any]) -> Store:
    from durable.stores.memory import MemoryStore

    if not place:
        return MemoryStore(**options)
    with _naming:
        if place not in _named:
            _named[place] = MemoryStore(url=url, **options)
        return _named[place]


def _sqlite(url: str, place: str, options: dict[str, Any]) -> Store:
    path = unquote(place[1:])
    if not place.startswith("/") and place:
        raise UsageError(
            f"{url}: a file is written with three slashes (sqlite:///{place}), or four if its"
            " path is absolute"
        )
    if not path:
        raise UsageError(f"{url} names no file: write sqlite:///orders.db")
    if path == ":memory:":
        raise UsageError(f"{url}: for a store in memory write memory://")
    from durable.stores.sqlite import SqliteStore

    return SqliteStore(path, **options)


def _postgresql(url: str, place: str, options: dict[str, Any]) -> Store:
    try:
        from durable.stores.postgresql import PostgresqlStore
    except ImportError as error:
        raise UsageError(
            f"{url} needs the driver psycopg ({error}): pip install 'psycopg[binary]'"
        ) from None
    return PostgresqlStore(f"postgresql://{place}", url=url, **options)


def _redis(url: str, place: str, options: dict[str, Any]) -> Store:
    server, _, database = place.rpartition("@")[2].partition("/")
    if not _SERVER.fullmatch(server):
        raise UsageError(f"{url} names no server: write redis://localhost:6379/0")
    if database and not database.isdecimal():
        raise UsageError(f"{url}: behind the server stands the number of a database: /0")
    return _redis_store(url, f"{url.partition('://')[0]}://{place}", **options)


def _redis_cluster(url: str, place: str, options: dict[str, Any]) -> Store:
    nodes = place.rpartition("@")[2].removesuffix("/")
    if not all(_SERVER.fullmatch(node) for node in nodes.split(",")):
        raise UsageError(
            f"{url} names no nodes: write redis+cluster://one:6379,other:6379 (a cluster has no"
            " numbers of databases)"
        )
    scheme = url.partition("+")[0]
    return _redis_store(url, f"{scheme}://{place.removesuffix('/')}", cluster=True, **options)


def _redis_store(url: str, address: str, **options: Any) -> Store:
    # The driver reads an address as that of a page: a password may not have any sign there, and
    # would be shown.
    scheme, _, place = address.partition("://")
    login, at, server = place.rpartition("@")
    address = f"{scheme}://{quote(login, safe=':%')}{at}{server}"
    try:
        from durable.stores.redis import RedisStore
    except ImportError as error:
        raise UsageError(f"{url} needs the driver redis ({error}): pip install redis") from None
    return RedisStore(address, url=url, **options)


def _mysql(url: str, place: str, options: dict[str, Any]) -> Store:
    from durable.stores.mysql import MysqlStore

    # The name of a user, or a password, may have any sign in it: it ends at the last @.
    who, _, where = place.rpartition("@")
    server, _, database = where.partition("/")
    user, _, password = who.partition(":")
    found = _HOST.fullmatch(server)
    if found is None or not database or "/" in database:
        raise UsageError(f"{url} names no database: write mysql://user@host/name")
    host, port = found.groups()
    address = {
        "host": unquote(host).strip("[]") or "localhost",
        "port": int(port[1:]) if port else 3306,
        "user": unquote(user) or None,
        "password": unquote(password),
        "database": unquote(database),
    }
    return MysqlStore(address, url=url, **options)


@dataclass(frozen=True, slots=True)
class _Backend:
    """How the stores of a scheme are made: from (address to show, place, options)."""

    make: Callable[[str, str, dict[str, Any]], Store]
    options: Mapping[str, Callable[[str, Any], Any]]


_REDIS_OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "prefix": _name,
    "timeout": _timeout,
    "max_inbox": _count,
    "allow_loss": _yes,
}

_MYSQL = _Backend(_mysql, {"prefix": _name, "timeout": _timeout, "ssl": _ssl, "max_inbox": _count})

_BACKENDS: Mapping[str, _Backend] = {
    "mariadb": _MYSQL,
    "memory": _Backend(_memory, {"max_inbox": _count}),
    "mysql": _MYSQL,
    "postgresql": _Backend(
        _postgresql,
        {"prefix": _name, "schema": _name, "timeout": _timeout, "max_inbox": _count},
    ),
    "sqlite": _Backend(
        _sqlite,
        {
            "prefix": _name,
            "synchronous": _synchronous,
            "busy_timeout": _seconds,
            "max_inbox": _count,
        },
    ),
    "redis": _Backend(_redis, _REDIS_OPTIONS),
    "rediss": _Backend(_redis, _REDIS_OPTIONS),
    "redis+cluster": _Backend(_redis_cluster, _REDIS_OPTIONS),
    "rediss+cluster": _Backend(_redis_cluster, _REDIS_OPTIONS),
}
