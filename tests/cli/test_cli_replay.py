"""``durable export``, ``import`` and ``replay``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Cli, clean_env

from durable.cli.stopping import STEP_TIMEOUT
from durable.worker_options import DEFAULT_STEP_TIMEOUT

FILE = "order.jsonl"


@pytest.fixture
def history(cli: Cli) -> Path:
    """A file with an instance ``order-1`` that has ended; it is in the store, too."""
    cli.ok("run", "orders:order", '"o-1"', "--id", "order-1")
    path = cli.directory / FILE
    path.write_text(cli.ok("export", "order-1"), "utf-8")
    return path


def deploy(cli: Cli, old: str, new: str) -> None:
    """Change the code of the module."""
    path = cli.directory / "orders.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    sys.modules.pop("orders", None)


def test_an_export_is_lines_of_json(cli: Cli, history: Path) -> None:
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert [row.get("event") for row in rows] == [
        None,
        "WorkflowStarted",
        "ActivityScheduled",
        "ActivityCompleted",
        "TimerStarted",
        "TimerFired",
        "ActivityScheduled",
        "ActivityCompleted",
        "WorkflowCompleted",
    ]
    assert (rows[0]["id"], rows[0]["status"]) == ("order-1", "completed")


def test_exports_by_filters(cli: Cli, history: Path) -> None:
    cli.ok("start", "approval", "--id", "a-1")
    cli.ok("start", "approval", "--id", "a-2")
    result = cli("export", "--where", "status=pending")
    assert result.stderr == "2 instances exported\n"
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["a-2", "a-1"]
    assert cli("export", "--where", "workflow=nothing").stderr == "0 instances exported\n"
    assert "give IDs, or --where" in cli.fails(2, "export")


def test_an_export_goes_on_after_an_id_that_is_not_there(cli: Cli, history: Path) -> None:
    result = cli("export", "gone", "order-1")
    assert result.exit_code == 4
    assert result.stdout == history.read_text()
    assert result.stderr == "error: there is no instance 'gone'\n1 instance exported\n"


def test_a_tree(cli: Cli) -> None:
    (cli.directory / "family.py").write_text(
        "from durable import Workflow, workflow\n"
        "@workflow\n"
        "def child(n: int) -> Workflow[int]:\n"
        "    if n:\n"
        "        yield child.call(n - 1)\n"
        "    return n\n"
    )
    cli.ok("run", "family:child", "2", "--id", "c")
    alone, tree = cli("export", "c"), cli("export", "c", "c/1.1", "--tree")
    assert alone.stderr == "1 instance exported\n"
    assert tree.stderr == "3 instances exported\n"
    (cli.directory / FILE).write_text(tree.stdout)
    assert cli("replay", "-m", "family", FILE).stderr == "3 histories replayed, 0 failed\n"
    store = ("--store", "sqlite:///other.db")
    assert cli.ok("import", FILE, *store).split() == ["c", "c/1.1", "c/1.1/1.1"]
    assert [row["id"] for row in cli.json("tree", "c", *store)] == ["c", "c/1.1", "c/1.1/1.1"]


# -- import -----------------------------------------------------------------------------


def test_an_import(cli: Cli, history: Path) -> None:
    store = ("--store", "sqlite:///other.db")
    result = cli("import", FILE, *store)
    assert (result.stdout, result.stderr) == ("order-1\n", "1 instance imported\n")
    assert cli.json("result", "order-1", *store) == cli.json("result", "order-1")
    assert cli.json("history", "order-1", *store) == cli.json("history", "order-1")
    assert (
        cli.ok("export", "order-1", *store).splitlines()[1:]
        == (history.read_text().splitlines()[1:])
    )


def test_an_import_changes_nothing_that_is_there(cli: Cli, history: Path) -> None:
    message = cli.fails(1, "import", FILE)
    assert "an instance with the id 'order-1' exists" in message
    assert "delete it, or take another --store" in message
    cli.ok("delete", "order-1", "-y")
    cli.ok("import", FILE)
    twice = cli.fails(2, "import", FILE, FILE, "--store", "sqlite:///other.db")
    assert twice == "error: order.jsonl:1: instance 'order-1' is at order.jsonl:1, too\n"


def test_an_import_that_goes_on_only_when_it_is_told_to(cli: Cli) -> None:
    cli.ok("store", "init")
    cli.ok("start", "approval", "--id", "a-1")
    cli.ok("signal", "a-1", "approve", '"bob"')
    (cli.directory / FILE).write_text(cli.ok("export", "a-1"))
    for number, options, status in ((1, (), "paused"), (2, ("--resume",), "pending")):
        store = ("--store", f"sqlite:///other{number}.db")
        result = cli("import", "-", *options, *store, input=(cli.directory / FILE).read_text())
        told = "1 of them " + ("resumed" if options else "paused")
        assert result.stderr.startswith(f"1 instance imported, {told}\n")
        assert ("`durable resume ID`" in result.stderr) == (not options)
        assert cli.json("show", "a-1", *store)["status"] == status
    cli.ok("worker", "orders", "--burst", *store)
    assert cli.json("result", "a-1", *store) == "bob"


@pytest.mark.parametrize("lines", [slice(3), slice(0)])
def test_an_import_of_what_was_cut_creates_nothing(cli: Cli, history: Path, lines: slice) -> None:
    text = history.read_text().splitlines(keepends=True)
    history.write_text("".join(text[lines]))
    assert f"{FILE}:{max(lines.stop, 1)}: " in cli.fails(
        2, "import", FILE, "--store", "sqlite:///other.db"
    )
    assert not (cli.directory / "other.db").exists()


def test_an_import_of_what_is_damaged_creates_nothing(cli: Cli, history: Path) -> None:
    head, *events = history.read_text().splitlines(keepends=True)
    other = "sqlite:///other.db"
    bad = {
        "order.jsonl:1: the instance cannot be read: uid: 16 bytes must be": {"uid": "00"},
        "order.jsonl:1: the instance cannot be read: there is no field 'color'": {"color": 1},
        "order.jsonl:1: the instance cannot be read: runs: there must be one": {"runs": []},
    }
    for said, change in bad.items():
        history.write_text("".join([json.dumps(json.loads(head) | change) + "\n", *events]))
        assert said in cli.fails(2, "import", FILE, "--store", other)
    again = json.dumps(json.loads(head) | {"id": "order-2"}) + "\n"
    history.write_text("".join([head, *events, again, *events]))
    said = cli.fails(1, "import", FILE, "--store", other)
    assert "instances 'order-1' and 'order-2' are the same one, twice" in said
    assert cli.json("list", "--store", other) == []


# -- replay -----------------------------------------------------------------------------


def test_a_replay_of_a_file_needs_no_store(cli: Cli, history: Path) -> None:
    effects = cli.effects
    for name in cli.directory.glob("durable.db*"):
        name.unlink()
    result = cli("replay", "--module", "orders", FILE)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 history replayed, 0 failed\n"
    assert cli("replay", FILE, DURABLE_MODULES="orders").stderr == result.stderr
    assert cli.effects == effects
    assert list(cli.directory.glob("durable.db*")) == []


def test_a_replay_of_the_store_writes_nothing(cli: Cli, history: Path) -> None:
    cli.ok("start", "approval", "--id", "a-1")
    before = cli.json("show", "order-1"), cli.json("show", "a-1")
    result = cli("replay", "-m", "orders", "order-1", "a-1", "order-1")
    assert (result.exit_code, result.stderr) == (0, "2 histories replayed, 0 failed\n")
    result = cli("replay", "-m", "orders", "--where", "workflow=order")
    assert (result.exit_code, result.stderr) == (0, "1 history replayed, 0 failed\n")
    assert (cli.json("show", "order-1"), cli.json("show", "a-1")) == before


def test_code_that_does_not_match(cli: Cli, history: Path) -> None:
    """Both sides, the event and the line are shown, and the others are replayed, too."""
    cli.ok("start", "approval", "--id", "a-1")
    deploy(cli, "yield sleep(pause)", "yield ship.call(order_id)")
    result = cli("replay", "-m", "orders", FILE, "a-1", "order-1")
    assert result.exit_code == 1
    assert result.stderr == "3 histories replayed, 2 failed\n"
    first, second = result.stdout.split("failed: ")[1:]
    head, at, recorded, issued, line, source = first.splitlines()
    assert head == "instance order-1, run 1 (order.jsonl:1)"
    assert at == "  at event 3"
    assert recorded.startswith("  the history has TimerStarted(command=1, due_at=20")
    assert issued == "  the code issued ship.call('o-1')"
    assert line == f"  at {cli.directory}/orders.py:28, in order"
    assert source == "      yield ship.call(order_id)"
    assert second.splitlines() == ["instance order-1, run 1", *first.splitlines()[1:]]


def test_a_replay_as_json(cli: Cli, history: Path) -> None:
    (good,) = cli.json("replay", "-m", "orders", FILE)
    assert (good["id"], good["ok"], good["error"]) == ("order-1", True, None)
    assert good["runs"][0]["ending"]["type"] == "WorkflowCompleted"
    assert good["runs"][0]["ending"]["value"] == {"receipt": "receipt-o-1", "parcel": "parcel-o-1"}
    deploy(cli, "yield sleep(pause)", "")
    result = cli("replay", "-m", "orders", FILE, "-o", "jsonl")
    assert result.exit_code == 1
    row = json.loads(result.stdout)
    assert (row["ok"], row["run"], row["seq"], row["source"]) == (False, 1, 3, "order.jsonl:1")
    assert row["recorded"].startswith("TimerStarted(")
    assert row["issued"] == "issued ship.call('o-1')"
    assert row["line"].endswith("orders.py:30, in order")


def test_what_cannot_be_read_is_said_and_the_rest_replayed(cli: Cli, history: Path) -> None:
    lines = history.read_text().splitlines(keepends=True)
    head = json.loads(lines[0])
    bad = {
        "cut.jsonl": "".join(lines)[:-20],
        "newer.jsonl": json.dumps(head | {"format": 99}) + "\n",
        "unknown.jsonl": "".join(lines).replace("TimerFired", "TimerJuggled"),
        "no.jsonl": "no\n",
    }
    for name, text in bad.items():
        (cli.directory / name).write_text(text)
    result = cli("replay", "-m", "orders", *bad, "gone.jsonl", FILE)
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == [
        f"cut.jsonl:{len(lines)}",
        "newer.jsonl:1",
        "unknown.jsonl:6",
        "no.jsonl:1",
        "gone.jsonl",
    ]
    assert result.stderr == "1 history replayed, 0 failed, 5 could not be replayed\n"


def test_a_history_of_another_workflow(cli: Cli, history: Path) -> None:
    (cli.directory / "others.py").write_text("from orders import approval\n")
    result = cli("replay", "-m", "others", FILE)
    assert result.exit_code == 2
    assert "not replayed: instance order-1, run 1 (order.jsonl:1)\n" in result.stdout
    assert "of workflow order (version 1); the code given has approval" in result.stdout
    both = cli("replay", "-m", "others", "-m", "orders", FILE)
    assert both.exit_code == 0


def test_what_is_not_there(cli: Cli, history: Path) -> None:
    result = cli("replay", "-m", "orders", "gone")
    assert (result.exit_code, result.stdout) == (4, "not found: there is no instance 'gone'\n")
    assert "there is no module 'nomodule'" in cli.fails(2, "replay", "-m", "nomodule", FILE)
    assert "give FILEs, IDs, or --where" in cli.fails(2, "replay", "-m", "orders")
    assert "--module" in cli.fails(2, "replay", FILE)
    missing = ("--store", "sqlite:///nothing.db")
    assert "there is no store" in cli.fails(3, "replay", "-m", "orders", "order-1", *missing)


def test_a_replay_of_stdin(cli: Cli, history: Path) -> None:
    result = cli("replay", "-m", "orders", "-", input=history.read_text() + "{\n")
    assert result.exit_code == 2
    assert result.stdout.startswith("unreadable: -:10: this is no JSON")
    assert result.stderr == "1 history replayed, 0 failed, 1 could not be replayed\n"


def test_what_the_code_prints_is_not_in_the_output(cli: Cli, history: Path) -> None:
    """Neither when it is imported, nor when it runs, nor when it is dropped."""
    deploy(cli, "@workflow\ndef order", "print('import')\n\n\n@workflow\ndef order")
    deploy(cli, '    set_var("stage", "charging")', '    print("noise")\n    set_var("stage", "c")')
    deploy(
        cli,
        '    return (yield wait_signal("approve"))',
        '    try:\n        return (yield wait_signal("approve"))\n'
        '    finally:\n        print("dropped")',
    )
    cli.ok("start", "approval", "--id", "a-1")
    cli.ok("worker", "orders", "--burst")
    rows = cli.json("replay", "-m", "orders", FILE, "a-1")
    assert [row["ok"] for row in rows] == [True, True]
    assert rows[1]["runs"][0]["ending"] is None
    assert rows[1]["runs"][0]["waits"][0].startswith("root waits for wait_signal('approve'), at ")
    assert cli("replay", "-m", "orders", FILE, "a-1").stdout == ""
    assert cli.json("where", "a-1", "-m", "orders")["status"] == "running"
    assert cli.json("vars", "order-1", "-m", "orders", "--at", "0") == {"stage": "c"}


def test_code_that_raises(cli: Cli, history: Path) -> None:
    """The failure is named, and the line that raised."""
    deploy(cli, "    yield sleep(pause)", '    raise LookupError(f"no {order_id}\\n at event 9")')
    result = cli("replay", "-m", "orders", FILE)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[3:] == [
        "  the code raised LookupError: no o-1\\n at event 9",
        f"  at {cli.directory}/orders.py:28, in order",
        '      raise LookupError(f"no {order_id}\\n at event 9")',
    ]


LAST = '    return {"receipt": receipt, "parcel": parcel}'


@pytest.mark.parametrize(
    ("old", "new", "source"),
    [
        ("    parcel = yield ship.call(order_id)", '    parcel = ""', LAST),
        (LAST, "    return object()", "return object()"),
        (LAST, "    return ship.call(order_id)", "return ship.call(order_id)"),
        ("    parcel = yield", "    next(iter([]))\n    parcel = yield", "next(iter([]))"),
        (
            "order_id: str, cents: int = 100, pause: float = 0",
            "order_id: str, *, color: str",
            "def order(order_id: str, *, color: str) -> Workflow[dict[str, str]]:",
        ),
    ],
)
def test_code_that_ends_too_early(cli: Cli, history: Path, old: str, new: str, source: str) -> None:
    """The line is that which returned or raised, though its generator is gone; or that of the
    function, and not of its decorator, if it did not begin."""
    deploy(cli, old, new)
    lines = (cli.directory / "orders.py").read_text().splitlines()
    result = cli("replay", "-m", "orders", FILE)
    number = [line.strip() for line in lines].index(source.strip()) + 1
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        f"  at {cli.directory}/orders.py:{number}, in order",
        f"      {source.strip()}",
    ]


def test_arguments_are_looked_at_first(cli: Cli, history: Path) -> None:
    """Before a module is imported, or a file replayed."""
    for args, said in (
        ((FILE, "order-1", "--where", "status=failed"), "'order-1' is no file, and IDs are not"),
        ((FILE, "--where", "color=red"), "there is no filter 'color'"),
        ((FILE, "--where", "status=odd"), "there is no status 'odd'"),
    ):
        result = cli("replay", "-m", "nomodule", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr


def test_a_directory_is_no_file(cli: Cli, history: Path) -> None:
    (cli.directory / "order-1").mkdir()
    assert cli("replay", "-m", "orders", "order-1").stderr == "1 history replayed, 0 failed\n"


def test_a_directory_that_is_no_instance(cli: Cli, history: Path) -> None:
    result = cli("replay", "-m", "orders", ".")
    assert (result.exit_code, result.stdout) == (4, "not found: there is no instance '.'\n")
    assert "hint: . is a folder: give the files that are in it\n" in result.stderr


def test_a_replay_of_nothing_does_not_pass(cli: Cli, history: Path) -> None:
    """Though the histories of files match."""
    result = cli("replay", "-m", "orders", FILE, "--where", "workflow=typo")
    assert result.exit_code == 4
    assert result.stdout == "not found: no instance matches --where 'workflow=typo'\n"
    assert result.stderr == "1 history replayed, 0 failed, 1 could not be replayed\n"


def test_files_are_split_and_joined_between_instances(cli: Cli, history: Path) -> None:
    """The number of histories tells which instances are missing."""
    cli.ok("start", "approval", "--id", "a-1")
    both = cli.ok("export", "order-1", "a-1")
    assert both.startswith(history.read_text())
    for text, said in ((both, "2 histories"), (history.read_text(), "1 history")):
        result = cli("replay", "-m", "orders", "-", input=text)
        assert (result.exit_code, result.stderr) == (0, f"{said} replayed, 0 failed\n")


def test_a_pipe_is_a_file(cli: Cli, history: Path) -> None:
    script = f'"$0" -m durable replay -m orders <(cat {FILE})'
    result = in_a_shell(cli, script)
    assert (result.returncode, result.stderr) == (0, "1 history replayed, 0 failed\n")


def test_closed_stdin_and_stdout(cli: Cli, history: Path) -> None:
    for verb in ("replay -m orders", "import"):
        result = in_a_shell(cli, f'"$0" -m durable {verb} - <&-')
        assert result.returncode == 2
        assert "-: stdin is closed\n" in result.stdout + result.stderr
    for verb in ("where -m orders --step order-1", "export order-1", "list"):
        result = in_a_shell(cli, f'"$0" -m durable {verb} <&- >&-')
        assert result.returncode == 0
        assert "error" not in result.stderr


def in_a_shell(cli: Cli, script: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", script, sys.executable]
    return subprocess.run(
        words, cwd=cli.directory, env=clean_env(), capture_output=True, text=True, timeout=60
    )


# -- stopping ---------------------------------------------------------------------------

STOPPED = ("replay", "-m", "orders", FILE, FILE), ("where", "order-1", "-m", "orders")


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a terminal: whoever runs the tests may have left Ctrl-C to others."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", STOPPED)
@pytest.mark.parametrize("swallows", [False, True])
def test_ctrl_c_is_no_verdict(
    cli: Cli, history: Path, ctrl_c: None, command: tuple[str, ...], swallows: bool
) -> None:
    pressed = "    import contextlib, signal\n    with contextlib.suppress("
    pressed += "BaseException" if swallows else ""
    deploy(
        cli, "    yield sleep(pause)",
        f"{pressed}):\n        signal.raise_signal(signal.SIGINT)\n    yield sleep(pause)",
    )  # fmt: skip
    result = cli(*command)
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (1, "", "aborted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("command", STOPPED)
def test_a_step_that_does_not_end(
    cli: Cli, history: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """It is stopped, as by a worker, and its line is told."""
    assert STEP_TIMEOUT == DEFAULT_STEP_TIMEOUT
    monkeypatch.setattr("durable.cli.stopping.STEP_TIMEOUT", 0.05)
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    deploy(cli, "    yield sleep(pause)", "    while True: pass")
    result = cli(*command)
    assert result.exit_code == 1
    assert "a step took longer than 0.05 s" in result.stdout
    assert f"{cli.directory}/orders.py:28, in order" in result.stdout
    assert signal.getsignal(signal.SIGALRM) is handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (timer[0] > 0)


def test_code_that_goes_round_in_one_step(
    cli: Cli, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as any other mismatch."""
    monkeypatch.setattr("durable.interpreter.limits.STEP_BUDGET", 100)
    deploy(cli, "import timedelta", "import timedelta\n\nfrom durable import gather")
    deploy(cli, "    yield sleep(pause)", "    while True:\n        yield gather()")
    result = cli("replay", "-m", "orders", FILE)
    _, at, recorded, issued, line, source = result.stdout.splitlines()
    assert at == "  at event 3"
    assert recorded.startswith("  the history has TimerStarted(command=1, ")
    assert issued == "  the code was stopped: more than 100 resumptions in one step"
    assert line == f"  at {cli.directory}/orders.py:31, in order"
    assert source == "      yield gather()"
