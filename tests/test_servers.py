"""The private servers of the tests: up, down, killed, frozen, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import servers
from servers import MariaDB, Postgres, Redis, RedisCluster, Server, guard, processes
from servers.redis_servers import connect
from servers.sql_servers import mysql_arguments

TESTS = Path(__file__).parent
# Seconds in which what must happen has happened, on a machine that has much else to do.
PATIENCE = 30.0

KINDS: list[type[Server]] = [Postgres, MariaDB, Redis, RedisCluster]
START = {
    Postgres: servers.postgres,
    MariaDB: servers.mariadb,
    Redis: servers.redis,
    RedisCluster: servers.redis_cluster,
}
VALUES = [f"value {number}" for number in range(20)]


@pytest.fixture(autouse=True)
def _no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here is our own servers, and strictness as each test sets it."""
    for kind in KINDS:
        monkeypatch.delenv(kind.variable, raising=False)


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a process that has not asked for a server yet."""
    monkeypatch.setattr(servers, "_servers", {})
    monkeypatch.setattr(servers, "_broken", {})
    for name in ("CI", "DURABLE_TEST_ALL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(guard.POLL)


def state(pid: int) -> str:
    """Of a process: T if it is stopped; empty if there is none, or only its exit code."""
    found = guard._stat(pid)[:1]
    return "" if found in ([], ["Z"], ["X"]) else found[0]


# -- what is written and read -----------------------------------------------------------


def connected(server: Server, url: str) -> Any:
    """A connection that commits each statement, or a client of Redis."""
    if isinstance(server, Postgres):
        import psycopg

        return psycopg.connect(url, autocommit=True)
    if isinstance(server, MariaDB):
        import pymysql

        return pymysql.connect(**mysql_arguments(url), autocommit=True, ssl_disabled=True)
    from redis import Redis as Client
    from redis.cluster import RedisCluster as ClusterClient

    address = url.partition("?")[0].replace("redis+cluster:", "redis:")
    cluster = isinstance(server, RedisCluster)
    return (ClusterClient if cluster else Client).from_url(address, decode_responses=True)


def write(server: Server, url: str) -> None:
    with connected(server, url) as client:
        if isinstance(server, Redis | RedisCluster):
            for value in VALUES:
                client.set(f"{url.partition('prefix=')[2]}:{value}", value)
            return
        with client.cursor() as cursor:
            cursor.execute("CREATE TABLE kept (value VARCHAR(20))")
            for value in VALUES:
                cursor.execute("INSERT INTO kept VALUES (%s)", (value,))


def read(server: Server, url: str) -> list[str]:
    with connected(server, url) as client:
        if isinstance(server, Redis | RedisCluster):
            prefix = url.partition("prefix=")[2]
            keys = list(client.scan_iter(match=f"{prefix}*", count=1000))
            return sorted(client.get(key) for key in keys)
        with client.cursor() as cursor:
            cursor.execute("SELECT value FROM kept")
            return sorted(value for (value,) in cursor.fetchall())


# -- up and down ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_committed_survives_kill_stop_and_freeze(kind: type[Server]) -> None:
    server = START[kind]()
    url = servers.fresh(server)
    write(server, url)
    for down in (server.kill, server.stop):
        pids = server.pids
        assert pids
        down()
        assert (server.alive, server.pids) == (False, [])
        assert [pid for pid in pids if state(pid)] == []
        with pytest.raises(Exception, match=r"(?i)connect|refused"):
            server.ping()
        server.start()
        assert read(server, url) == sorted(VALUES)
    server.freeze()
    # Asked now: a backend whose client has left may have ended since.
    pids = server.pids
    assert {state(pid) for pid in pids} == {"T"}
    assert server.alive
    server.thaw()
    server.ping()
    assert (server.pids[0], read(server, url)) == (pids[0], sorted(VALUES))
    servers.drop(server, url)


@pytest.mark.parametrize("kind", KINDS)
def test_who_asks_for_a_server_next_gets_it_mended(kind: type[Server]) -> None:
    server = START[kind]()
    server.freeze()
    assert START[kind]() is server
    server.ping()
    server.processes[-1].kill()
    assert not server.alive
    assert START[kind]() is server
    server.ping()


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_places_share_nothing_and_can_be_dropped(kind: type[Server]) -> None:
    server = START[kind]()
    first, second = servers.fresh(server), servers.fresh(server)
    assert first != second
    write(server, first)
    write(server, second)
    servers.drop(server, first)
    assert read(server, second) == sorted(VALUES)
    if isinstance(server, Redis | RedisCluster):
        assert read(server, first) == []
    else:
        with pytest.raises(Exception, match=r"does not exist|Unknown database"):
            read(server, first)
    servers.drop(server, second)


def test_a_cluster_with_replicas(unknown: pytest.MonkeyPatch) -> None:
    cluster = servers.redis_cluster(replicas=1)
    ports = [process.port for process in cluster.processes]
    assert len(ports) == len(cluster.pids) == 6
    for master, replica in zip(ports[:3], ports[3:], strict=True):
        with connect(f"redis://127.0.0.1:{replica}") as client:
            found = client.info("replication")
            assert (found["master_port"], found["master_link_status"]) == (master, "up")
    folder = cluster.folder
    cluster.close()
    assert not folder.exists()


@pytest.mark.parametrize("kind", [Postgres, MariaDB, Redis])
def test_a_closed_server_leaves_no_process_and_no_folder(
    kind: type[Server], unknown: pytest.MonkeyPatch
) -> None:
    server = START[kind]()
    pids, folder = server.pids, server.folder
    assert folder.exists()
    server.close()
    assert [pid for pid in pids if state(pid)] == []
    assert not folder.exists()


def test_a_server_that_cannot_start_says_its_last_words_and_is_not_tried_again(
    unknown: pytest.MonkeyPatch,
) -> None:
    server = servers.redis()
    server.stop()
    server.processes[0].command += ["--no-such-option", "1"]
    with pytest.raises(RuntimeError, match=r"Redis ended:(?s:.)*no-such-option"):
        servers.redis()
    with pytest.raises(pytest.fail.Exception, match=r"did not start before:(?s:.)*no-such"):
        servers.redis()


# -- the end of the test session --------------------------------------------------------

PROGRAM = """
import os, signal, sys
import servers
server = servers.{function}()
print(server.folder.parent, *server.pids, flush=True)
{end}
"""
# What a process does at its end, and its exit code.
ENDS = {
    "exit": ("", 0),
    "failure": ("sys.exit(1)", 1),
    "frozen": ("server.freeze()", 0),
    # The fork goes on to its own exit, and the server stays.
    "fork": ("os.fork() and os.wait(); server.ping()", 0),
    "Ctrl-C": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "SIGTERM": ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM),
    "SIGKILL": ("signal.raise_signal(signal.SIGKILL)", -signal.SIGKILL),
}


def await_nothing_left(told: str) -> None:
    """told: of each process, a folder and the numbers of what ran there."""
    lines = [line.split() for line in told.splitlines()]
    assert lines
    folders = [Path(line[0]) for line in lines]
    until(lambda: not any(folder.exists() for folder in folders), f"one is left of {folders}")
    assert [pid for line in lines for pid in line[1:] if state(int(pid))] == []


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_when_the_process_ends(end: str) -> None:
    kind = Postgres if end == "SIGKILL" else Redis
    START[kind]()  # or skip
    what, code = ENDS[end]
    program = PROGRAM.format(function=START[kind].__name__, end=what)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    await_nothing_left(done.stdout)


def test_nothing_is_left_by_the_workers_of_xdist(tmp_path: Path) -> None:
    servers.redis()  # or skip
    program = PROGRAM.format(function="redis", end="").replace("print(", "told(")
    told = tmp_path / "told"
    (tmp_path / "test_inside.py").write_text(
        "import pytest\n"
        "def told(*words, flush):\n"
        f"    with open({str(told)!r}, 'a') as file:\n"
        "        print(*words, file=file)\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_inside(number):\n" + "".join(f"    {line}\n" for line in program.splitlines())
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len({line.split()[0] for line in told.read_text().splitlines()}) == 2
    await_nothing_left(told.read_text())


# -- servers of others ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_names_another_server(
    kind: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = START[kind]()
    monkeypatch.setattr(servers, "_servers", {})
    monkeypatch.setenv(kind.variable, ours.url)
    server = START[kind]()
    assert (server.url, server.is_ours, server.alive) == (ours.url, False, True)
    url = servers.fresh(server)
    write(server, url)
    for broken in (server.kill, server.freeze, server.stop, server.start, server.thaw):
        with pytest.raises(RuntimeError, match=f"{kind.variable} names .* not ours: it cannot be"):
            broken()
    assert read(server, url) == sorted(VALUES)
    # As at the end of the session: what was made there goes, and the server stays.
    server.close()
    if isinstance(server, Redis | RedisCluster):
        assert read(server, url) == []
    else:
        with pytest.raises(Exception, match=r"does not exist|Unknown database"):
            read(server, url)
    ours.ping()


# -- what is missing --------------------------------------------------------------------


@pytest.fixture
def bare(unknown: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """As on a machine without servers."""
    unknown.setenv("PATH", str(tmp_path))
    unknown.setattr(processes, "FOLDERS", ())
    unknown.setattr(processes, "VERSIONED", ())
    return unknown


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Postgres,
            "PostgreSQL: initdb and postgres not found; as root: apt-get install postgresql",
        ),
        (
            MariaDB,
            "mariadb-install-db and mariadbd not found; as root: apt-get install mariadb-ser",
        ),
        (Redis, "Redis: redis-server not found; as root: apt-get install redis-server, or set"),
        (RedisCluster, "Redis Cluster: redis-server not found; as root: apt-get install redis-s"),
    ],
)
def test_a_missing_server_skips_with_what_to_install(
    kind: type[Server], message: str, bare: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pytest.skip.Exception, match=f"^MISSING .*{message}") as skipped:
        START[kind]()
    assert kind.variable in str(skipped.value)
    assert "\n" not in str(skipped.value)


@pytest.mark.parametrize("variable", ["CI", "DURABLE_TEST_ALL"])
def test_a_missing_server_fails_where_everything_must_run(
    variable: str, bare: pytest.MonkeyPatch
) -> None:
    bare.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match="MISSING Redis: redis-server not found"):
        servers.redis()
    bare.setenv(variable, "false")
    with pytest.raises(pytest.skip.Exception):
        servers.redis()


def test_a_missing_driver_skips_with_what_to_install(unknown: pytest.MonkeyPatch) -> None:
    unknown.setattr("importlib.util.find_spec", lambda name: None)
    unknown.setenv(Postgres.variable, "postgresql://127.0.0.1:9/of-others")
    message = r"PostgreSQL: no module psycopg; pip install 'psycopg\[binary\]'"
    with pytest.raises(pytest.skip.Exception, match=message):
        servers.postgres()
