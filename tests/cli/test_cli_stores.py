"""The command line on each store in a server: its commands, and what may be wrong there."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from cli_kit import Cli, follow
from click.testing import Result
from servers.base import as_user, at_path, with_prefix
from servers.processes import free_port
from servers.sql_servers import MariaDB, Postgres
from store_table import CLUSTER, SERVERS, fresh_url

WAITS = ["approval", "--id", "b", "--tag", "red"]
COMMANDS = [["list"], ["start", "approval"], ["store", "init"], ["worker", "orders"]]


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(name: str, tmp_path: Path) -> str:
    return fresh_url(name, tmp_path)


@pytest.fixture
def there(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands on that store, which was made."""
    monkeypatch.setenv("DURABLE_STORE", url)
    cli.ok("store", "init")
    return cli


def work(cli: Cli) -> None:
    cli.ok("worker", "orders", "-q", "default", "-q", "parcels", "--burst", "--log-level", "error")


# -- commands ---------------------------------------------------------------------------


def test_a_store_is_made_once(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_STORE", url)
    for words in (["list"], ["stats"], ["store", "status"], ["cancel", "x"]):
        assert "there is no store at" in cli.fails(3, *words)
    assert "schema 0 to" in cli("store", "migrate", "--dry-run").stderr
    assert "there is no store at" in cli.fails(3, "list")
    assert "schema 0 to" in cli("store", "migrate").stderr
    assert "is up to date" in cli("store", "migrate").stderr
    assert "is there already" in cli("store", "init").stderr
    found = cli.json("store", "status")
    assert found["state"] == "up to date"
    assert found["bytes"] > 0
    assert found["durability"] == "durable"
    assert re.fullmatch(r"(PostgreSQL|MariaDB|MySQL|Redis) [\d.]+", found["server"])
    assert list(cli.directory.glob("*.db")) == []


def test_a_store_without_tables_has_no_sql(cli: Cli) -> None:
    url = fresh_url("redis", cli.directory)
    said = cli.fails(2, "store", "migrate", "--dry-run", "--sql", "--store", url)
    assert "has no tables, and so no SQL" in said


def test_an_instance_is_started_run_and_shown(there: Cli) -> None:
    assert there.ok("start", "order", '"o-1"', "--id", "a") == "a\n"
    assert "--if-exists use" in there.fails(1, "start", "order", '"o-1"', "--id", "a")
    work(there)
    assert there.json("result", "a")["parcel"] == "parcel-o-1"
    assert there.json("show", "a")["status"] == "completed"
    assert there.json("history", "a")[-1]["type"] == "WorkflowCompleted"
    assert there.json("vars", "a") == {"stage": "shipping"}
    assert there.json("stats")["instances"]["completed"] == 1
    assert there.json("workers") == []
    assert "there is no instance 'x'" in there.fails(4, "show", "x")
    assert there.effects == ["charged o-1", "shipped o-1"]


def test_an_instance_is_told(there: Cli) -> None:
    for id in "bcd":
        there.ok("start", "approval", "--id", id, "--tag", "red")
    work(there)
    there.ok("signal", "b", "approve", '"bob"')
    there.ok("pause", "c")
    there.ok("resume", "c")
    there.ok("cancel", "c", "--reason", "enough")
    there.ok("terminate", "d", "-y", "--reason", "stop")
    work(there)
    assert there.ok("result", "b") == '"bob"\n'
    assert "cancelled: enough" in there.fails(1, "result", "c")
    assert there.json("show", "d")["reason"] == "stop"
    assert [row["id"] for row in there.json("list", "--tag", "red")] == ["d", "c", "b"]
    assert [row["id"] for row in there.json("list", "--status", "terminated")] == ["d"]


def test_an_instance_is_tried_again_and_removed(there: Cli) -> None:
    there.ok("start", "--id", "a", "order", "--", '"o"', "-1")
    work(there)
    assert "cents must not be -1" in there.fails(1, "result", "a")
    there.ok("retry", "a")
    work(there)
    assert there.effects == ["charged o", "charged o"]
    there.ok("start", *WAITS)
    assert there.ok("purge", "--older-than", "0", "-y") == "1\n"
    there.ok("terminate", "b", "-y")
    there.ok("delete", "b", "-y")
    assert there.json("list") == []


def test_a_worker_of_its_own_process_waits_for_work(there: Cli, url: str) -> None:
    child = there.spawn("worker", "orders", "-q", "default", "-q", "parcels", DURABLE_STORE=url)
    follow(child, "durable")
    assert there.ok("start", "order", '"o"', "--wait", "--timeout", "30")
    assert len(there.json("workers")) == 1
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode == 0
    assert there.json("workers") == []


# -- what may be wrong ------------------------------------------------------------------


def refused(result: Result, code: int, secret: str) -> str:
    """What was said: one line, with neither a traceback nor the password."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    errors = result.stderr.partition("error: ")[2].splitlines()
    assert len([line for line in errors if not line.startswith("hint: ")]) == 1, result.stderr
    assert "Traceback" not in result.output
    assert "hint: this is not expected" not in result.output
    assert not secret or secret not in result.output
    return errors[0]


def elsewhere(url: str, host: str) -> str:
    """The address with a user and a password, and another host."""
    parts = urlsplit(as_user(url, "me", "top-secret"))
    return urlunsplit(parts._replace(netloc=f"me:top-secret@{host}"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_wrong_password(cli: Cli, url: str, words: list[str]) -> None:
    wrong = as_user(url, urlsplit(url).username or "nobody", "top-secret")
    refused(cli(*words, "--store", wrong), 3, "top-secret")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_port_where_nobody_listens(cli: Cli, url: str, words: list[str]) -> None:
    closed = elsewhere(url, f"127.0.0.1:{free_port()}")
    assert "refused" in refused(cli(*words, "--store", closed), 3, "top-secret")


def test_a_host_that_is_not_there(cli: Cli, url: str) -> None:
    gone = elsewhere(url, "no-such-host.invalid")
    assert "no-such-host.invalid" in refused(cli("list", "--store", gone), 3, "top-secret")


def test_a_database_that_is_not_there(cli: Cli, name: str, url: str) -> None:
    if name == CLUSTER:
        pytest.skip("a cluster has no numbers of databases")
    refused(cli("list", "--store", at_path(url, "77777")), 3, urlsplit(url).password or "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("://", "x://"), "no store has the scheme"),
        (("prefix=", "prefx="), "did you mean 'prefix'?"),
        (("prefix=", "prefix=1"), "a prefix begins with a letter"),
        (("prefix=", "timeout=soon&prefix="), "it is a number of seconds"),
        (("127.0.0.1:", "127.0.0.1:x"), "is not host, or host:port"),
        (("top-secret", "top-secret/?"), "write / as %2F"),
    ],
)
def test_a_wrong_address(cli: Cli, url: str, change: tuple[str, str], said: str) -> None:
    wrong = as_user(url, "me", "top-secret").replace(*change, 1)
    for words in COMMANDS:
        assert said in refused(cli(*words, "--store", wrong), 2, "top-secret")


def test_a_driver_that_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of PostgreSQL: the others are installed with the package."""
    monkeypatch.delitem(sys.modules, "durable.stores.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    wrong = "postgresql://me:top-secret@host/name"
    said = refused(cli("list", "--store", wrong), 2, "top-secret")
    assert "needs the driver psycopg" in said
    assert "pip install 'psycopg[binary]'" in said


def test_who_may_only_read_can_look(there: Cli, name: str, url: str) -> None:
    server = SERVERS[name]()
    if not isinstance(server, Postgres | MariaDB):
        pytest.skip(f"{server.title} has no such users")
    there.ok("start", *WAITS)
    there.ok("terminate", "b", "-y")
    reader = server.reader(url)
    secret = urlsplit(reader).password or ""
    for words in (["list"], ["show", "b"], ["history", "b"], ["stats"], ["store", "status"]):
        there.ok(*words, "--store", reader)
    for words in (
        ["start", "approval"],
        ["delete", "b", "-y"],
        ["purge", "-y", "--older-than", "0"],
    ):
        assert "denied" in refused(there(*words, "--store", reader), 3, secret)
    refused(there("worker", "orders", "--store", reader), 3, secret)
    refused(there("store", "init", "--store", with_prefix(reader, "other_")), 3, secret)
    assert len(there.json("list")) == 1


def test_a_server_that_went_away(there: Cli, name: str) -> None:
    server = SERVERS[name]()
    if not server.is_ours:
        pytest.skip(f"{server.variable} names a server that is not ours")
    server.stop()
    try:
        refused(there("list"), 3, urlsplit(server.url).password or "")
    finally:
        SERVERS[name]()  # mends it
    assert there.json("list") == []
