"""Commands that start, act, look and keep."""

from __future__ import annotations

import json
import re
import signal

import pytest
from cli_kit import Cli, follow

from durable.cli import control, worker
from durable.cli.retain import retained
from durable.interpreter import Limits
from durable.worker import Worker


@pytest.fixture
def done(cli: Cli) -> Cli:
    """With one finished instance ``a`` and one ``b`` that waits for a signal."""
    cli.ok("run", "orders:order", '"o-1"', "--id", "a", "-q")
    cli.ok("start", "approval", "--id", "b", "--tag", "red")
    cli.ok("worker", "orders", "--burst", "--log-level", "error")
    return cli


LOOKS = [
    "list", "stats", "workers", "show x", "history x", "result x", "vars x", "where x",
    "signal x y",
]  # fmt: skip


@pytest.mark.parametrize("command", [*LOOKS, "cancel x", "delete x -y", "store status"])
def test_looking_makes_no_store(cli: Cli, command: str) -> None:
    said = cli.fails(3, *command.split())
    assert "there is no store at sqlite:///durable.db; run `durable store init`" in said
    assert list(cli.directory.glob("*.db")) == []


@pytest.mark.parametrize("command", LOOKS[3:])
def test_an_instance_that_is_not_there(cli: Cli, command: str) -> None:
    cli.ok("store", "init")
    assert "there is no instance 'x'" in cli.fails(4, *command.split())


def test_list(done: Cli) -> None:
    table = done.ok("list")
    assert re.search(r"^a +order +completed +default +", table, re.MULTILINE)
    assert [row["id"] for row in done.json("list")] == ["b", "a"]
    lines = done.ok("list", "-o", "jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["b", "a"]
    for filters, ids in (
        (["--status", "completed"], ["a"]),
        (["--workflow", "approval"], ["b"]),
        (["--tag", "red"], ["b"]),
        (["--queue", "other"], []),
        (["--since", "1h"], ["b", "a"]),
        (["--until", "1h"], []),
        (["--search", "a"], ["a"]),
    ):
        assert [row["id"] for row in done.json("list", *filters)] == ids


def test_list_by_pages(done: Cli) -> None:
    first = done("list", "--limit", "1", "-o", "json")
    cursor = re.search(r"--cursor (\S+)", first.stderr)
    assert cursor is not None
    assert [row["id"] for row in json.loads(first.stdout)] == ["b"]
    rest = done.json("list", "--cursor", cursor[1])
    assert [row["id"] for row in rest] == ["a"]


def test_show(done: Cli) -> None:
    shown = done.ok("show", "a", "--utc")
    assert re.search(r"^status +completed$", shown, re.MULTILINE)
    assert re.search(r"^created +\S+ \S+Z$", shown, re.MULTILINE)
    assert '"parcel": "parcel-o-1"' in shown
    assert done.json("show", "a")["result"]["parcel"] == "parcel-o-1"


def test_history(done: Cli) -> None:
    assert "charge('o-1', 100) scheduled" in done.ok("history", "a")
    events = done.json("history", "a")
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "WorkflowStarted"
    assert events[-1]["value"]["parcel"] == "parcel-o-1"


def test_result(done: Cli) -> None:
    assert done.json("result", "a")["parcel"] == "parcel-o-1"
    assert "--wait or --timeout waits for its end" in done.fails(5, "result", "b")
    assert "did not end within 0.1 s" in done.fails(5, "result", "b", "--timeout", "100ms")


def test_vars_stats_and_workers(done: Cli) -> None:
    assert done.ok("vars", "a") == 'stage  "shipping"\n'
    assert done.json("vars", "a") == {"stage": "shipping"}
    assert done.json("stats")["instances"]["completed"] == 1
    assert "instances completed   1" in done.ok("stats")
    assert done.json("workers") == []


def test_start_and_wait(cli: Cli) -> None:
    assert cli.ok("start", "order", '"o-1"', "--id", "a") == "a\n"
    assert "--if-exists use" in cli.fails(1, "start", "order", '"o-1"', "--id", "a")
    assert cli.ok("start", "order", '"o-1"', "--id", "a", "--if-exists", "use") == "a\n"
    said = cli.fails(1, "start", "order", '"o-1"', "--id", "a", "--if-exists", "restart")
    assert "has not ended: only one that has can be restarted" in said
    said = cli.fails(5, "start", "order", '"o"', "--wait", "--timeout", "0.1")
    assert "did not end" in said
    child = cli.spawn("worker", "orders", "-q", "default", "-q", "parcels")
    assert json.loads(cli.ok("start", "order", '"o-2"', "--wait", "--timeout", "30"))
    child.terminate()
    assert child.communicate(timeout=30)
    assert child.returncode == 0


def test_start_later(cli: Cli) -> None:
    cli.ok("start", "order", '"o"', "--id", "a", "--delay", "1h", "--queue", "slow")
    cli.ok("start", "order", '"o"', "--id", "b", "--at", "2199-01-01T00:00Z")
    found = cli.json("list")
    assert [row["status"] for row in found] == ["pending", "pending"]
    assert found[1]["queue"] == "slow"
    cli.fails(2, "start", "order", "--delay", "1h", "--at", "2199-01-01")
    cli.fails(2, "start", "order", "--timeout", "1h")
    cli.fails(2, "start", "order", "--delay", "soon")


def test_signal(done: Cli) -> None:
    assert "no JSON" in done.fails(2, "signal", "b", "approve", "bob")
    done.ok("signal", "b", "approve", '"bob"')
    done.ok("worker", "orders", "--burst", "--log-level", "error")
    assert done.ok("result", "b") == '"bob"\n'
    assert "has ended" in done.fails(1, "signal", "b", "approve")
    for words in ([], ["b"], ["b", "approve", "1", "2"]):
        assert "give ID NAME [JSON]" in done.fails(2, "signal", *words)


def test_signal_of_many(done: Cli) -> None:
    done.ok("start", "approval", "--id", "c")
    several = ["signal", "--where", "workflow=approval", "approve"]
    assert "send the signal approve to 2 instances (c, b)" in done.fails(1, *several)
    assert "2 signalled" in done(*several, '"bob"', "-y").stderr
    assert "give ID NAME" in done.fails(2, "signal", "b", "approve", "1", "--where", "tag=x")
    done.ok("worker", "orders", "--burst", "--log-level", "error")
    assert [done.json("result", id) for id in "bc"] == ["bob", "bob"]
    assert "0 signalled" in done(*several, "-y").stderr


def test_cancel(done: Cli) -> None:
    done.ok("cancel", "b", "--reason", "enough")
    done.ok("worker", "orders", "--burst", "--log-level", "error")
    assert "cancelled: enough" in done.fails(1, "result", "b")
    assert "has ended" in done.fails(1, "cancel", "b")
    assert "there is no instance" in done.fails(4, "cancel", "zzz")


def test_terminate_asks(done: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "-y means yes" in done.fails(1, "terminate", "b")
    assert done.json("show", "b")["status"] == "running"
    done.ok("terminate", "b", "-y", "--reason", "enough")
    assert done.json("show", "b")["reason"] == "enough"


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, ["b"]), ("n\n", 1, ["b", "a"])])
def test_delete_asks_on_a_terminal(
    done: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: list[str]
) -> None:
    monkeypatch.setattr(control, "has_terminal", lambda: True)
    result = done("delete", "a", input=answer)
    assert result.exit_code == code, result.output
    assert "1 instance (a)" in result.stderr
    assert [row["id"] for row in done.json("list")] == left


def test_where(done: Cli) -> None:
    assert "cancel 1 instance (b)" in done.fails(1, "cancel", "--where", "since=1h")
    done.ok("terminate", "--where", "workflow=approval since=1h", "-y")
    done.ok("delete", "--where", "status=terminated,completed", "-y")
    assert done.json("list") == []
    assert "give IDs, or --where" in done.fails(2, "cancel")
    assert "give IDs, or --where" in done.fails(2, "cancel", "a", "--where", "tag=x")


def test_delete_of_what_runs(done: Cli) -> None:
    said = done.fails(1, "delete", "b", "a", "-y")
    assert "has not ended" in said
    assert "1 deleted" in said
    assert [row["id"] for row in done.json("list")] == ["b"]


def test_purge(done: Cli) -> None:
    done.fails(1, "purge", "--older-than", "0")
    assert done.ok("purge", "--older-than", "0", "--dry-run") == "1\n"
    assert done.ok("purge", "--older-than", "1d", "--dry-run") == "0\n"
    assert done.ok("purge", "--older-than", "1d", "-y") == "0\n"
    assert done.ok("purge", "--older-than", "0", "--status", "failed", "-y") == "0\n"
    assert done.ok("purge", "--older-than", "0", "-y") == "1\n"


def test_store(cli: Cli) -> None:
    statements = cli("store", "migrate", "--dry-run", "--sql")
    assert "CREATE TABLE" in statements.stdout
    assert list(cli.directory.glob("*.db")) == []
    cli.ok("store", "init")
    assert "is there already" in cli("store", "init").stderr
    assert cli.json("store", "status")["state"] == "up to date"
    assert cli.ok("store", "migrate", "--sql") == ""
    assert "no store has the scheme" in cli.fails(2, "list", "--store", "nosql://x")


def test_ids_cannot_move_the_cursor(cli: Cli) -> None:
    cli.ok("start", "order", "--id", "a\x1b[2Jb")
    assert r"a\x1b[2Jb" in cli.ok("list")
    assert "\x1b" not in cli.fails(4, "show", "\x1b[2J")


def test_worker_says_what_it_is(cli: Cli) -> None:
    child = cli.spawn("worker", "orders", "-q", "parcels", "-t", "3")
    said = follow(child, "durable")
    assert "on sqlite:///durable.db: queues parcels; 2 workflows, 2 activities; 3 threads" in said
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode == 0


def test_worker_options(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Worker] = []

    def run(worker: Worker) -> int:
        seen.append(worker)
        return 0

    monkeypatch.setattr(Worker, "run", run)
    cli.ok("worker", "orders", "--build", "v2", DURABLE_WORKER_MAX_HISTORY="7")
    cli.ok("worker", "orders", "--step-timeout", "1m", "--unknown-after", "500ms")
    first, second = seen
    assert first.build == "v2"
    assert first._limits.max_history == 7
    assert second._watchdog._step_timeout == 60.0
    assert second._lease._unknown_after == 500_000
    assert second._retention._retain == {}
    more = ("--max-pending=5", "--max-step-bytes=6", "--retain=failed=90d")
    cli.ok("worker", "orders", *more, "--retain=completed=7d,cancelled=1h30m")
    cli.ok("worker", "orders", DURABLE_WORKER_RETAIN="completed=1h failed=2h,cancelled=3h")
    third, fourth = seen[2:]
    assert third._limits == Limits(max_pending=5, max_step_bytes=6)
    day, hour = 86_400_000_000, 3_600_000_000
    assert third._retention._retain == {
        "failed": 90 * day, "completed": 7 * day, "cancelled": 1.5 * hour
    }  # fmt: skip
    assert fourth._retention._retain == {
        "completed": hour, "failed": 2 * hour, "cancelled": 3 * hour
    }  # fmt: skip
    for wrong in ("running=7d", "completed", "completed=soon", "=7d", ""):
        assert "STATUS=AGE" in cli.fails(2, "worker", "orders", f"--retain={wrong}")
    assert "at least 60 seconds" in cli.fails(2, "worker", "orders", "--retain=failed=1s")
    for option in ("--step-timeout=0", "--max-history=0", "--unknown-after=soon"):
        cli.fails(2, "worker", "orders", option)


def test_worker_processes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The children get the same options; the URL is not on their command line."""
    seen: list[tuple[list[str], int, float]] = []

    def supervise(argv: list[str], processes: int, grace: float) -> int:
        seen.append((argv, processes, grace))
        return 0

    monkeypatch.setenv("DURABLE_STORE", "")  # restored afterwards
    monkeypatch.setattr("durable.supervisor.supervise", supervise)
    url = "sqlite:///durable.db?busy_timeout=7"
    more = ["--step-timeout", "2m", "--max-history", "7", "--build", "v 2"]
    more += ["--max-pending=8", "--max-step-bytes=9", "--retain=failed=90d,completed=7d"]
    cli.ok("worker", "orders", "-p", "2", "--grace", "5s", "--store", url, *more)
    (argv, processes, grace) = seen[0]
    assert (processes, grace) == (2, 5.0)
    assert url not in argv
    parsed = worker.worker_command.make_context("worker", argv[1:])
    assert parsed.params["processes"] == 1
    assert parsed.params["grace"] == 5.0
    assert parsed.params["step_timeout"] == 120.0
    assert parsed.params["unknown_after"] == 5.0
    assert parsed.params["max_history"] == 7
    assert parsed.params["max_pending"] == 8
    assert parsed.params["max_step_bytes"] == 9
    assert retained(parsed.params["retain"]) == {"failed": 90 * 86400, "completed": 7 * 86400}
    assert parsed.params["build"] == "v 2"
    assert parsed.params["url"] == url
    assert parsed.params["modules"] == ("orders",)


def test_worker_of_a_broken_module(cli: Cli) -> None:
    (cli.directory / "broken.py").write_text("def f():\n    return 1 / 0\nf()\n")
    result = cli("worker", "broken")
    assert result.exit_code == 2
    assert "return 1 / 0" in result.stderr
    assert "importlib" not in result.stderr
    assert "--burst works with one process" in cli.fails(2, "worker", "orders", "--burst", "-p2")


def test_processes_start_and_stop_together(cli: Cli) -> None:
    child = cli.spawn("worker", "orders", "-p", "2")
    assert "2 processes with 16 threads each" in follow(child, "2 processes")
    for _ in range(2):
        follow(child, "2 activities; 16 threads")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert cli.json("workers") == []


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("sqlite:///garbage.db", 3, "not a database"),
        ("sqlite:////nowhere/at/all.db", 3, "/nowhere/at"),
        ("sqlite://x.db", 2, "three slashes"),
        ("memory://", 2, "is gone when its process ends"),
        ("nosql://me:secret@host/db", 2, "no store has the scheme"),
    ],
)
def test_stores_that_cannot_be_used(cli: Cli, url: str, code: int, said: str) -> None:
    (cli.directory / "garbage.db").write_text("this is not a database, but a text\n" * 100)
    for command in (["list"], ["start", "order"]):
        shown = cli.fails(code, *command, "--store", url)
        assert said in shown or "there is no store" in shown
        assert "secret" not in shown


def test_a_schema_of_another_time(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("store", "init")
    monkeypatch.setattr("durable.stores.sqlite.SqliteStore.schema", lambda store: (1, 2))
    assert "`durable store migrate`" in cli.fails(3, "list")
    assert "too old" in cli("store", "status").stdout
    monkeypatch.setattr("durable.stores.sqlite.SqliteStore.schema", lambda store: (3, 2))
    assert "newer version of durable" in cli.fails(3, "start", "order")
    assert cli("store", "status").exit_code == 3
