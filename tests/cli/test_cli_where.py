"""``durable where``, and ``durable vars`` at moments of the past."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest
from cli_kit import Cli, clean_env

FLOWS = """
from durable import Workflow, activity, race, set_var, sleep, wait_signal, workflow


@activity
def charge(order_id: str) -> str:
    return f"receipt-{order_id}"


def approval(order_id):
    print("noise of the workflow")
    answer = yield race(yes=wait_signal("yes"), late=sleep(86400))
    return answer.name


@workflow
def order(order_id: str) -> Workflow[str]:
    escape = "\\x1b[2J"
    set_var("stage", "charging")
    receipt = yield charge.call(order_id)
    set_var("stage", "waiting")
    answer = yield from approval(order_id)
    set_var("stage", "done")
    return f"{answer} {receipt} {escape}"
"""
AT_CHARGE = "receipt = yield charge.call(order_id)"
AT_APPROVAL = "answer = yield from approval(order_id)"
AT_RACE = 'answer = yield race(yes=wait_signal("yes"), late=sleep(86400))'


def marked(code: str, flows: str = FLOWS) -> str:
    """How the line is shown at which it waits."""
    return f"  > {line_of(code, flows)}  {code}"


def line_of(code: str, flows: str = FLOWS) -> int:
    (number,) = [n for n, line in enumerate(flows.splitlines(), 1) if line.strip() == code]
    return number


@pytest.fixture
def waits(cli: Cli) -> Cli:
    """With an instance ``a`` that waits for an approval."""
    (cli.directory / "shop.py").write_text(FLOWS)
    cli.ok("store", "init")
    cli.ok("start", "order", '"o-1"', "--id", "a")
    cli.ok("worker", "shop", "--burst", "--log-level", "error")
    return cli


def test_where(waits: Cli) -> None:
    text = waits.ok("where", "a", "-m", "shop", "--utc")
    lines = text.splitlines()
    assert "noise of the workflow" not in lines
    assert lines[0] == "a: order version 1, run 1, running"
    assert lines[1].startswith("after event 3, 20")
    assert lines[1].endswith("Z")
    assert lines[3:5] == ["root waits for race: the first of 2", "    yes: signal yes"]
    assert f"  shop.py:{line_of(AT_APPROVAL)}, in order" in lines
    assert marked(AT_APPROVAL) in lines
    assert f"  shop.py:{line_of(AT_RACE)}, in approval" in lines
    assert "      receipt = 'receipt-o-1'" in lines
    assert "      escape = '\\x1b[2J'" in lines
    assert waits.ok("where", "a", "-m", str(waits.directory / "shop.py"), "--utc") == text
    assert waits.ok("where", "a", "--utc", DURABLE_MODULES="shop") == text


def test_where_as_json(waits: Cli) -> None:
    found = waits.json("where", "a", "-m", "shop")
    assert (found["id"], found["status"], found["seq"]) == ("a", "running", 3)
    (root,) = found["coroutines"]
    assert root["waits_for"]["parts"][0]["what"] == "yes"
    assert root["frames"][0]["locals"]["order_id"] == "'o-1'"
    assert [line_of(AT_RACE), f"    {AT_RACE}"] in root["frames"][1]["source"]
    assert json.loads(waits.ok("where", "a", "-m", "shop", "-o", "jsonl")) == found


def test_the_past(waits: Cli) -> None:
    assert marked(AT_CHARGE) in waits.ok("where", "a", "-m", "shop", "--at", "0")
    assert waits.json("vars", "a", "--at", "0", "-m", "shop") == {"stage": "charging"}
    assert waits.json("vars", "a") == {"stage": "waiting"}
    waits.ok("signal", "a", "yes")
    waits.ok("worker", "shop", "--burst", "--log-level", "error")
    text = waits.ok("where", "a", "-m", "shop")
    assert "ended: completed → 'yes receipt-o-1 \\x1b[2J'" in text
    assert marked(AT_APPROVAL) in text
    assert waits.json("vars", "a", "--run", "1", "-m", "shop") == {"stage": "done"}


def test_what_is_not_there(waits: Cli) -> None:
    said = waits.fails(2, "where", "a", "-m", "shop", "--at", "9")
    assert "run 1 of 'a' has events 0 to 3, and no event 9" in said
    assert "no run 2" in waits.fails(2, "where", "a", "-m", "shop", "--run", "2")
    assert "no event 9" in waits.fails(2, "vars", "a", "-m", "shop", "--at", "9")
    assert "there is no instance 'b'" in waits.fails(4, "where", "b", "-m", "shop")
    said = waits.fails(2, "where", "a")
    assert "the code of workflow order version 1 is not here" in said
    assert "-m MODULE" in said
    assert "there is no module 'nowhere'" in waits.fails(2, "where", "a", "-m", "nowhere")


def test_code_that_does_not_fit(waits: Cli) -> None:
    flows = FLOWS.replace("charge.call(order_id)", "sleep(1)")
    (waits.directory / "new_shop.py").write_text(flows)
    result = waits("where", "a", "-m", "new_shop")
    assert result.exit_code == 1
    assert "the code does not follow this history" in result.stdout
    assert "the code issued sleep(1), at" in result.stdout
    assert marked("receipt = yield sleep(1)", flows) in result.stdout
    assert "event 1" in waits.fails(1, "vars", "a", "--at", "3", "-m", "new_shop")
    steps = waits("where", "a", "-m", "new_shop", "--step", "-o", "jsonl")
    assert steps.exit_code == 1
    assert all(json.loads(line)["problem"] for line in steps.stdout.splitlines())


def test_step_prints_every_moment(waits: Cli) -> None:
    text = waits.ok("where", "a", "-m", "shop", "--step")
    assert [text.count("SEQ "), text.count("a: order version 1")] == [2, 2]
    assert text.index(AT_CHARGE) < text.index('charge → "receipt-o-1"') < text.rindex(AT_APPROVAL)
    assert [where["seq"] for where in waits.json("where", "a", "-m", "shop", "--step")] == [1, 3]
    later = waits.json("where", "a", "-m", "shop", "--step", "--at", "2")
    assert [where["seq"] for where in later] == [3]


def test_step_of_one_that_has_not_begun(waits: Cli) -> None:
    waits.ok("start", "order", '"o-2"', "--id", "b")
    assert "nothing has happened yet" in waits.ok("where", "b", "--step")
    assert [where["seq"] for where in waits.json("where", "b", "--step")] == [None]


def on_a_terminal(directory: Path, typed: str, *args: str) -> str:
    """What a command shows on a terminal where this is typed."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execve(sys.executable, [sys.executable, "-m", "durable", *args], clean_env())
    os.write(terminal, typed.encode())
    shown = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # it has ended, which Linux says in this way
            some = b""
        if not some:
            break
        shown += some
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return shown.decode().replace("\r\n", "\n")


def test_step_asks_on_a_terminal(waits: Cli) -> None:
    keys = ["n", "", "p", "0", "3", "p", "p", "7", "huh", "q", "never"]
    typed = "".join(f"{key}\n" for key in keys)
    shown = on_a_terminal(waits.directory, typed, "where", "a", "-m", "shop", "--step")
    places = [line for line in shown.splitlines() if line.startswith("after event")]
    assert [place[:13] for place in places] == [
        "after event 1", "after event 3", "after event 1", "after event 3", "after event 1",
    ]  # fmt: skip
    assert shown.count("there are events 0 to 3") == 3
    assert "'huh' is none of these" in shown
    assert shown.count("q: quit > ") == 10


def test_step_ends_with_its_input(waits: Cli) -> None:
    shown = on_a_terminal(waits.directory, "n\n\x04", "where", "a", "-m", "shop", "--step")
    assert shown.count("after event") == 2


def test_code_that_raises_where_the_history_goes_on(waits: Cli) -> None:
    """As for an instance that has failed: the frames that raised, with their variables."""
    for code in (AT_CHARGE, AT_APPROVAL):
        flows = FLOWS.replace(code, f"number = 1 / (len(order_id) - 3)\n    {code}")
        (waits.directory / "shop.py").write_text(flows)
        sys.modules.pop("shop", None)
        result = waits("where", "a", "-m", "shop")
        assert result.exit_code == 1
        head, _, before = result.stdout.partition("just before that:\n")
        lines = head.splitlines()
        at = line_of("number = 1 / (len(order_id) - 3)", flows)
        assert "the code raised ZeroDivisionError: division by zero, at " in lines[2]
        assert lines[3] == f"  shop.py:{at}, in order"
        assert marked("number = 1 / (len(order_id) - 3)", flows) in lines
        assert "      order_id = 'o-1'" in lines
        assert ("root waits for activity charge('o-1')" in before) == (code == AT_APPROVAL)
