"""``durable run`` and ``durable demo``, also in processes that are killed."""

from __future__ import annotations

import json
import signal
import time

import pytest
from cli_kit import Cli, follow

from durable.client import Client

RUN = ("run", "orders:order")


def test_the_result_is_json_and_progress_goes_to_stderr(cli: Cli) -> None:
    result = cli(*RUN, '"o-1"', "500", "--id", "a")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"receipt": "receipt-o-1", "parcel": "parcel-o-1"}
    for line in ("charge('o-1', 500) scheduled", 'charge → "receipt-o-1"', "timer until", "ship"):
        assert line in result.stderr
    assert cli.effects == ["charged o-1", "shipped o-1"]


def test_the_same_id_again_gives_the_result(cli: Cli) -> None:
    first = cli.ok(*RUN, '"o-1"', "--id", "a")
    again = cli(*RUN, '"o-1"', "--id", "a", "-o", "jsonl")
    assert json.loads(again.stdout) == json.loads(first)
    assert "has ended already: completed" in again.stderr
    assert cli.effects == ["charged o-1", "shipped o-1"]


def test_named_arguments_and_a_file(cli: Cli) -> None:
    shown = cli.ok("run", "./orders.py:order", "-P", "order_id=o-2", "-P", "cents:=7", "-q")
    assert json.loads(shown)["receipt"] == "receipt-o-2"


def test_a_store_in_memory_will_do(cli: Cli) -> None:
    cli.ok(*RUN, '"o-1"', "--store", "memory://")
    assert list(cli.directory.glob("*.db")) == []


def test_without_an_id_one_is_said(cli: Cli) -> None:
    result = cli(*RUN, '"o-1"')
    id = cli.json("list")[0]["id"]
    assert f"--id {id}" in result.stderr


def test_a_failure_shows_where_it_happened(cli: Cli) -> None:
    said = cli.fails(1, *RUN, '"o-1"', "-P", "cents:=-5", "--id", "a")
    assert "error: instance 'a' failed" in said
    assert "cents must not be -5" in said
    assert "raise ValueError" in said  # the line of the activity's own code
    assert cli.json("show", "a")["status"] == "failed"


def test_running_out_of_time(cli: Cli) -> None:
    assert "a is running" in cli.fails(5, "run", "orders:approval", "--id", "a", "--timeout", "0.3")


def test_the_id_of_another_workflow(cli: Cli) -> None:
    cli.ok(*RUN, '"o-1"', "--id", "a")
    said = cli.fails(2, "run", "orders:approval", "--id", "a")
    assert "'a' is one of order, not of approval" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["orders:order", "o-1"], """'"o-1"'"""),
        (["orders:order"], "missing a required argument: 'order_id'"),
        (["orders:order", "1", "2", "3", "4"], "too many positional arguments"),
        (["orders:order", "1", "-P", "colour=red"], "unexpected keyword argument 'colour'"),
        (["orders:ordr", "1"], "did you mean order?"),
        (["orders:zzz"], "it has approval, order"),
        (["orders:charge"], "charge is an activity"),
        (["orders:helper"], "decorate it with @workflow"),
        (["orders"], "has 2 workflows; it has approval, order: say which"),
        (["orders:"], "MODULE:WORKFLOW"),
        (["order:order"], "did you mean orders.py?"),
    ],
)
def test_wrong_usage_stores_nothing(cli: Cli, args: list[str], said: str) -> None:
    assert said in cli.fails(2, "run", *args)
    assert list(cli.directory.glob("*.db")) == []


def test_a_module_with_one_workflow(cli: Cli) -> None:
    (cli.directory / "single.py").write_text(
        "from durable import workflow\n@workflow\ndef flow():\n    return 7\n    yield\n"
    )
    assert cli.ok("run", "single") == "7\n"


def test_a_process_that_was_killed_is_continued(cli: Cli) -> None:
    args = (*RUN, '"o-1"', "-P", "pause:=1", "--id", "a")
    child = cli.spawn(*args)
    follow(child, "timer until")
    child.kill()
    child.communicate()
    assert cli.effects == ["charged o-1"]
    again = cli.spawn(*args)
    out, said = again.communicate(timeout=30)
    assert again.returncode == 0, said
    assert json.loads(out)["parcel"] == "parcel-o-1"
    assert "a is running and goes on, " in said
    assert "charge(" not in said
    assert cli.effects == ["charged o-1", "shipped o-1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_gracefully(cli: Cli, number: signal.Signals) -> None:
    child = cli.spawn(*RUN, '"o-1"', "-P", "pause:=60", "--id", "a")
    follow(child, "timer until")
    child.send_signal(number)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "run the same command again to go on" in said
    assert cli.json("workers") == []
    assert cli.json("show", "a")["status"] == "running"


def test_another_process_ends_it(cli: Cli) -> None:
    child = cli.spawn("run", "orders:approval", "--id", "a")
    follow(child, "approval() started")
    client = Client("sqlite:///durable.db")
    client.signal("a", "approve", "bob")
    out, said = child.communicate(timeout=30)
    assert out == '"bob"\n'
    assert 'signal approve received: "bob"' in said
    client.close()


def test_blocked_code_is_reported(cli: Cli) -> None:
    args = (*RUN, '"o-1"', "-P", "pause:=60", "--id", "a")
    child = cli.spawn(*args)
    follow(child, "timer until")
    child.kill()
    child.communicate()
    source = cli.directory / "orders.py"
    text = source.read_text()
    source.write_text(text.replace("yield charge.call(order_id, cents)", "yield sleep(1)"))
    client = Client("sqlite:///durable.db")
    client.signal("a", "wake")  # so that the instance is read again
    blocked = cli.spawn(*args)
    _, said = blocked.communicate(timeout=30)
    assert blocked.returncode == 1, said
    assert "a is blocked" in said
    client.close()


def test_demo(cli: Cli) -> None:
    since = time.monotonic()
    child = cli.spawn("demo")
    out, said = child.communicate(timeout=60)
    assert child.returncode == 0, out + said
    assert time.monotonic() - since < 30
    assert "killed with SIGKILL" in out
    after = out.rsplit("over both processes", 1)[1]
    assert after.count("charged o-1") == after.count("shipped o-1") == 1
