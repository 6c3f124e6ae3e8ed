"""Addresses: what they mean, what is wrong with them, and what is not shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlite_kit import ended, python

from durable.errors import UsageError
from durable.store import Unavailable
from durable.stores import (
    open_store,
    redact,
)
from durable.stores.memory import MemoryStore
from durable.stores.mysql import MysqlStore
from durable.stores.redis import RedisStore
from durable.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "names no file: write sqlite:///orders.db"),
        ("sqlite:///", "names no file"),
        ("sqlite://x.db", r"three slashes \(sqlite:///x.db\)"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite3:///x.db", r"did you mean 'sqlite'\?"),
        (
            "oracle://u:secret@h/d",
            "there are mariadb://, memory://, mysql://, postgresql://, redis://, "
            r"redis\+cluster://, rediss://, rediss\+cluster:// or sqlite://",
        ),
        ("x.db", "'x.db' is not the address of a store"),
        ("", "not the address"),
        ("u:secret@h", "not the address"),
        ("sqlite:///x.db?prefx=a", r"no option 'prefx' \(did you mean 'prefix'\?\); it has"),
        ("sqlite:///x.db?prefix=a-b", "a prefix begins with"),
        ("sqlite:///x.db?prefix=", "a prefix begins with"),
        ("sqlite:///x.db?prefix=" + "a" * 32, "a prefix begins with"),
        ("sqlite:///x.db?prefix=1a", "a prefix begins with"),
        ("sqlite:///x.db?synchronous=off", "full or normal"),
        ("sqlite:///x.db?busy_timeout=soon", "a number of seconds"),
        ("sqlite:///x.db?busy_timeout=-1", "a number of seconds"),
        ("sqlite:///x.db?busy_timeout=nan", "a number of seconds"),
        ("mysql://u:secret@h/d?timeout=1e9", "at most a day"),
        ("sqlite:///x.db?max_inbox=0", "from 1 on"),
        ("postgresql://u:secret@h/d?timeout=soon", "a number of seconds"),
        ("postgresql://u:secret@h/d?timeout=0", "more than 0"),
        ("mysql://u:secret@h/d?timeout=1e300", r"at most a day \(86400\)"),
        ("redis://:secret@h?timeout=0", "more than 0"),
        ("postgresql://u:secret@h/d?synchronous=full", "it has max_inbox, prefix, schema, timeout"),
        ("postgresql://u:secret@h/d?schema=a.b", "a schema begins with a letter or _"),
        ("postgresql://u:secret@h/d?schema=", "a schema begins with"),
        ("mysql://u:secret@h/d?schema=a", "no option 'schema'"),
        ("postgres://u:secret@h/d", r"did you mean 'postgresql'\?"),
        ("memory://?prefix=a", "no option 'prefix'"),
        ("redis://", "names no server: write redis://localhost:6379/0"),
        ("redis://:secret@/0", "names no server"),
        ("redis://h:port/0", "is not host, or host:port"),
        ("redis://u:secret@h/shop", "the number of a database"),
        ("redis://h?allow_loss=maybe", "yes or no"),
        ("redis://h?synchronous=full", "no option 'synchronous'"),
        ("redis+cluster://", "names no nodes: write redis"),
        ("redis+cluster://u:secret@one:1,:2", "names no nodes"),
        ("redis+cluster://u:secret@h:1/0", "names no nodes"),
        ("redis+cluster://h?busy_timeout=1", "no option 'busy_timeout'"),
        ("mysql://u:secret@h", "names no database: write mysql://user@host/name"),
        ("mysql://u:secret@h/a/b", "names no database"),
        ("mysql:///a@b:c/d", "names no database"),
        ("mariadb://u:secret@h:port/d", "is not host, or host:port"),
        ("mysql://u:secret@h/d?ssl=maybe", "it is off, on, or a file"),
        ("mysql://u:secret@h/d?busy_timeout=1", "it has max_inbox, prefix, ssl, timeout"),
    ],
)
def test_wrong_addresses(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


def test_options_by_address_and_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a%20b.db?busy_timeout=2.5&synchronous=normal&prefix=shop_"
    store = open_store(url, max_inbox=7)
    assert isinstance(store, SqliteStore)
    assert (store._patience, store._syncs, store.max_inbox) == (2.5, False, 7)
    assert store.models.names["tasks"] == '"shop_tasks"'
    store.open()
    assert (tmp_path / "a b.db").exists()
    store.close()
    with pytest.raises(UsageError, match="no option 'timeout'"):
        open_store("sqlite:///x.db", timeout=1)


def test_a_redis_server_is_not_asked_before_it_is_opened() -> None:
    store = open_store("redis://:secret@absent.invalid:6379/3?prefix=shop_", timeout=2)
    assert isinstance(store, RedisStore)
    assert store.url == "redis://:***@absent.invalid:6379/3?prefix=shop_"
    with pytest.raises(Unavailable, match=r"redis://:\*\*\*@absent\.invalid") as raised:
        store.open()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster"])
def test_a_password_of_redis_may_have_signs_that_addresses_have(scheme: str) -> None:
    store = open_store(f"{scheme}://me:se#c[r%2Fe%C3%A9:]\u2100t@host:1")
    assert isinstance(store, RedisStore)
    connection = store._link.listener()
    assert (connection.username, connection.password) == ("me", "se#c[r/eé:]\u2100t")
    assert store.url == f"{scheme}://me:***@host:1"


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [("u@[::1]:3307", "::1", 3307), ("u@[::1]", "::1", 3306), ("u@h", "h", 3306)],
)
def test_the_host_of_a_mysql_server(place: str, host: str, port: int) -> None:
    store = open_store(f"mysql://{place}/d")
    assert isinstance(store, MysqlStore)
    assert (store._address["host"], store._address["port"]) == (host, port)


def test_memory_stores_by_name() -> None:
    one, same, other = (open_store(f"memory://{name}") for name in ("one", "one", "two"))
    assert one is same
    assert one is not other
    assert one.url == "memory://one"
    assert isinstance(open_store("memory://"), MemoryStore)
    assert open_store("memory://") is not open_store("memory://")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:secret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:secret@h/d?x=1", "mysql://u:***@h/d?x=1"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("mysql://u:se@cr/et@h/d", "mysql://u:***@h/d"),
        ("mysql://u:se?cret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:se@c?ret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:a:secret@h/d", "mysql://u:***@h/d"),
        ("mysql://h/d?user=u&password=secret&x=1", "mysql://h/d?user=u&password=***&x=1"),
        ("sqlite:///a@b/x:y.db", "sqlite:///a@b/x:y.db"),
        ("u:secret@h", "u:***@h"),
        ("nothing", "nothing"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "password", ["se/cret", "se?cret", "se@cret", "se%zzcret", "se%", "se%00cret"]
)
def test_a_password_with_raw_signs_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(UsageError, match=r"write / as %2F") as raised:
        open_store(f"postgresql://me:{password}@host/shop")
    assert "cret" not in str(raised.value)
    assert "zz" not in str(raised.value)


@pytest.mark.parametrize("host", ["host:port", "host:65536", "[::1", "host:1:2", "a:1,b:x"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(UsageError, match="is not host, or host:port"):
        open_store(f"postgresql://me:secret@{host}/shop")


@pytest.mark.parametrize("host", ["", "host", "host:5432", "[::1]:5432", "a:1,b:2"])
def test_hosts_as_drivers_know_them(host: str) -> None:
    url = f"postgresql://me:p%40ss@{host}/shop"
    assert open_store(url).url == redact(url)


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("", "localhost", 3306),
        ("u@host", "host", 3306),
        ("u@host:1", "host", 1),
        ("u@[::1]", "::1", 3306),
        ("u@[::1]:1", "::1", 1),
    ],
)
def test_hosts_of_mysql(place: str, host: str, port: int) -> None:
    store = open_store(f"mysql://{place}/shop")
    assert isinstance(store, MysqlStore)
    assert (store._address["host"], store._address["port"]) == (host, port)


def test_only_the_backend_asked_for_is_loaded() -> None:
    code = (
        "import sys; from durable.stores import open_store; open_store('memory://');"
        " print([name for name in ('peewee', 'redis', 'sqlite3') if name in sys.modules])"
    )
    assert ended(python(code)) == "[]\n"


def test_a_driver_that_is_missing_is_named() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from durable.stores import open_store\n"
        "try: open_store('redis://:secret@h')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = ended(python(code))
    assert said.startswith("UsageError redis://:***@h needs the driver redis (")
    assert said.endswith("): pip install redis\n")
