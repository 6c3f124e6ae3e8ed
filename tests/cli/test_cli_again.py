"""Commands for what went wrong, rests, has children, or is completed from outside."""

from __future__ import annotations

import json
import re

import pytest
from cli_kit import Cli, follow

from durable import events
from durable.cli import control, event_text
from durable.model import EPOCH

FAMILY = """
from pathlib import Path

from durable import (
    Retry, Workflow, activity, continue_as_new, current_activity, external, gather, info,
    wait_signal, workflow,
)


@activity(retry=None)
def check(name: str) -> str:
    if not Path("repaired").exists():
        raise ValueError(f"{name} is broken")
    return name


@activity(retry=None)
def ask(question: str) -> str:
    Path("token").write_text(current_activity().token)
    current_activity().heartbeat({"asked": question})
    raise current_activity().complete_later()


@workflow
def checks(name: str) -> Workflow[str]:
    return (yield from check.call(name))


@workflow
def parent() -> Workflow[list[str]]:
    kids = (kid.options(id=f"kid-{number}").call(number) for number in range(2))
    return (yield from gather(*kids))


@workflow
def kid(number: int) -> Workflow[str]:
    return (yield from grandkid.options(id=f"grandkid-{number}").call())


@workflow
def grandkid() -> Workflow[str]:
    return (yield wait_signal("grow"))


@workflow
def promises() -> Workflow[str]:
    promise = external("approval")
    Path("token").write_text(promise.token)
    return (yield promise)


@workflow
def asks() -> Workflow[str]:
    return (yield from ask.call("why?"))


@workflow
def counts(number: int = 0) -> Workflow[int]:
    yield check.call("count")
    return number if number == 3 else continue_as_new(number + 1)


@workflow(retry=Retry(max_attempts=5, first_delay=0))
def stubborn() -> Workflow[str]:
    yield check.call("stubborn")
    if info().attempt < 3:
        raise ValueError("not yet")
    return "at last"
"""


@pytest.fixture
def family(cli: Cli) -> Cli:
    """With the module ``family`` and a store."""
    (cli.directory / "family.py").write_text(FAMILY)
    cli.ok("store", "init")
    return cli


def work(cli: Cli) -> None:
    cli.ok("worker", "family", "--burst", "--log-level", "error")


def repair(cli: Cli) -> None:
    (cli.directory / "repaired").touch()


def started(cli: Cli, *args: str) -> None:
    cli.ok("start", *args)
    work(cli)


# -- retry ------------------------------------------------------------------------------


def test_retry(family: Cli) -> None:
    started(family, "checks", '"a"', "--id", "a")
    assert "a is broken" in family.fails(1, "result", "a")
    repair(family)
    family.ok("retry", "a")
    assert family.json("show", "a")["run"] == 2
    work(family)
    assert family.ok("result", "a") == '"a"\n'
    assert "retried; what is before is of run 1" in family.ok("history", "a")
    assert "failed: " in family.ok("history", "a", "--run", "1")
    assert "instance 'a' has runs 1 to 2" in family.fails(1, "history", "a", "--run", "7")


def test_retry_of_many(family: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        family.ok("start", "checks", f'"{name}"', "--id", name)
    family.ok("cancel", "c")
    work(family)
    repair(family)
    assert "retry 2 instances (b, a)" in family.fails(1, "retry", "--where", "since=1h")
    monkeypatch.setattr(control, "has_terminal", lambda: True)
    asked = family("retry", "--where", "workflow=checks", input="y\n")
    assert "2 retried" in asked.stderr
    work(family)
    assert {row["id"]: row["status"] for row in family.json("list")} == {
        "a": "completed", "b": "completed", "c": "cancelled",
    }  # fmt: skip
    assert "1 retried" in family("retry", "--where", "status=cancelled", "-y").stderr
    work(family)
    assert family.ok("result", "c") == '"c"\n'
    assert "0 retried" in family("retry", "--where", "since=1h", "-y").stderr


def test_a_blocked_instance_says_how_to_go_on(family: Cli) -> None:
    started(family, "grandkid", "--id", "g")
    source = family.directory / "family.py"
    source.write_text(FAMILY.replace('(yield wait_signal("grow"))', '(yield check.call("x"))'))
    family.ok("signal", "g", "grow", '"up"')
    child = family.spawn("worker", "family", "--burst", "--log-level", "error")
    child.communicate(timeout=30)
    shown = family.ok("show", "g")
    assert re.search(r"^status +blocked$", shown, re.MULTILINE)
    assert "does not match its history" in shown
    assert "`durable retry g` tries now" in shown
    source.write_text(FAMILY)
    family.ok("retry", "g")
    child = family.spawn("worker", "family", "--burst", "--log-level", "error")
    child.communicate(timeout=30)
    assert family.ok("result", "g") == '"up"\n'


# -- pause and resume -------------------------------------------------------------------


def test_pause_and_resume(family: Cli) -> None:
    started(family, "grandkid", "--id", "g")
    assert re.search(r"^history +1 event$", family.ok("show", "g"), re.MULTILINE)
    family.ok("pause", "g")
    assert [row["id"] for row in family.json("list", "--status", "paused")] == ["g"]
    shown = family.ok("show", "g")
    assert "`durable resume g` lets it go on" in shown
    assert "(paused)" not in shown
    family.ok("signal", "g", "grow", '"up"')
    work(family)
    said = family.fails(5, "result", "g")
    assert "'g' is paused; it has not ended" in said
    assert "hint: --wait or --timeout waits for its end" in said
    family.ok("resume", "g")
    work(family)
    assert family.ok("result", "g") == '"up"\n'
    assert re.search(r"Paused +paused\n.*Resumed +resumed\n", family.ok("history", "g"))


def test_pause_of_many(family: Cli) -> None:
    for number in range(3):
        family.ok("start", "grandkid", "--id", f"g{number}")
    family.ok("pause", "g0")
    assert "pause 2 instances (g2, g1)" in family.fails(1, "pause", "--where", "search=g")
    assert "2 paused" in family("pause", "--where", "search=g", "-y").stderr
    assert "-y means yes" in family.fails(1, "resume", "--where", "search=g")
    assert "3 resumed" in family("resume", "--where", "search=g", "-y").stderr
    assert "2 paused" in family("pause", "g0", "g2").stderr
    assert family.json("stats")["instances"]["paused"] == 2
    assert "instances paused      2" in family.ok("stats")


# -- fork, tree -------------------------------------------------------------------------


def test_fork(family: Cli) -> None:
    started(family, "checks", '"a"', "--id", "a")
    said = family.fails(2, "fork", "a", "--at", "0")
    assert "event 0 is in the middle of a step; at= can be 1" in said
    repair(family)
    assert family.ok("fork", "a", "--at", "1", "--id", "b") == "b\n"
    id = family.ok("fork", "a", "--at", "1", "--run", "1").strip()
    said = family.fails(1, "fork", "a", "--at", "1", "--id", "b")
    assert "id 'b' exists" in said
    assert "--if-exists" not in said
    assert "--at" in family.fails(2, "fork", "a")
    assert "there is no instance" in family.fails(4, "fork", "x", "--at", "1")
    work(family)
    for fork in ("b", id):
        assert family.ok("result", fork) == '"a"\n'
        assert "forked from a after its event 1" in family.ok("history", fork)
    assert family.json("show", "a")["status"] == "failed"


def test_tree(family: Cli) -> None:
    started(family, "parent", "--id", "p")
    lines = family.ok("tree", "p").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "p", "kid-0", "grandkid-0", "kid-1", "grandkid-1",
    ]  # fmt: skip
    assert re.match(r"ID +WORKFLOW +STATUS +REASON", lines[0])
    assert re.match(r"    grandkid-0 +grandkid +running$", lines[3])
    rows = family.json("tree", "p")
    assert [(row["depth"], row["parent"]) for row in rows] == [
        (0, None), (1, "p"), (2, "kid-0"), (1, "p"), (2, "kid-1"),
    ]  # fmt: skip
    assert len(family.ok("tree", "kid-1", "-o", "jsonl").splitlines()) == 2
    family.ok("terminate", "grandkid-1", "-y", "--reason", "too\x1b[2J old")
    assert r"too\x1b[2J old" in family.ok("tree", "p")
    assert "there is no instance" in family.fails(4, "tree", "x")


def test_children_in_lists_and_shown(family: Cli) -> None:
    started(family, "parent", "--id", "p")
    assert [row["id"] for row in family.json("list", "--parent", "p")] == ["kid-1", "kid-0"]
    assert family.json("list", "--parent", "kid-0")[0]["parent"] == "kid-0"
    assert "there is no instance 'x'" in family.fails(4, "list", "--parent", "x")
    assert re.search(r"^parent +p, run 1 \(at its end: cancel\)$",
                     family.ok("show", "kid-0"), re.MULTILINE)  # fmt: skip
    history = family.ok("history", "p")
    assert "child kid-0 started: kid(0)" in history
    assert "1 asked to stop" in family("cancel", "--where", "parent=kid-0", "-y").stderr
    work(family)
    assert "child kid-0 failed: " in family.ok("history", "p")


# -- completed from outside -------------------------------------------------------------


def token(cli: Cli) -> str:
    return (cli.directory / "token").read_text()


def test_complete(family: Cli) -> None:
    started(family, "promises", "--id", "p")
    assert "no JSON" in family.fails(2, "complete", token(family), "yes")
    family.ok("complete", token(family), '"yes"')
    work(family)
    assert family.ok("result", "p") == '"yes"\n'
    assert 'promise approval → "yes"' in family.ok("history", "p")
    for args in (["complete"], ["fail", "x"], ["complete", "x", "1", "2"]):
        family.fails(2, *args)
    for command in ("complete", "fail"):
        said = family.fails(2, command, "no-token", '"x"')
        assert "this token was not made by a workflow or an activity of this store" in said
    assert "begins with - comes after --" in family.fails(2, "complete", "-Xyz")


def test_fail(family: Cli) -> None:
    started(family, "promises", "--id", "p")
    family.ok("fail", token(family), "the bank said no")
    work(family)
    assert "promise approval failed: Exception: the bank said no" in family.ok("history", "p")
    assert "the bank said no" in family.fails(1, "result", "p")
    family.ok("complete", token(family), '"too late"')  # the first one counts
    family.ok("delete", "p", "-y")
    assert "was deleted" in family.fails(4, "complete", token(family))
    started(family, "promises", "--id", "p")
    family.ok("terminate", "p", "-y")
    assert "promise of this token is over" in family.fails(1, "fail", token(family), "x")


def test_an_activity_that_is_completed_later(family: Cli) -> None:
    started(family, "asks", "--id", "a")
    shown = family.ok("show", "a")
    assert re.search(r"ask +1/1 +awaits completion from outside +\{\"asked\": \"why\?\"\}", shown)
    (task,) = family.json("show", "a")["tasks"]
    assert (task["state"], task["details"]) == ("awaits completion", {"asked": "why?"})
    family.ok("complete", token(family), '"because"')
    work(family)
    assert family.ok("result", "a") == '"because"\n'


# -- what goes wrong --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pause", "resume", "retry"])
def test_the_wrong_state(family: Cli, command: str) -> None:
    family.ok("start", "grandkid", "--id", "g")
    assert "there is no instance" in family.fails(4, command, "x")
    assert "give IDs, or --where" in family.fails(2, command)
    assert "there is no filter" in family.fails(2, command, "--where", "colour=red")
    if command != "pause":
        assert "'g' is pending" in family.fails(1, command, "g")
    family.ok("pause", "g")
    if command != "resume":
        assert "'g' is paused" in family.fails(1, command, "g")
    family.ok("terminate", "g", "-y")
    if command == "retry":
        assert "'g' is terminated" in family.fails(1, command, "g")
    else:
        assert "has ended" in family.fails(1, command, "g")


def test_a_time_limit_of_the_workflow(family: Cli) -> None:
    family.ok("start", "grandkid", "--id", "g", "--run-timeout", "1h30m")
    assert family.json("show", "g")["timeout"] == 5400.0
    assert re.search(r"^time limit +1h30m$", family.ok("show", "g"), re.MULTILINE)
    assert "--timeout is for --wait" in family.fails(2, "start", "grandkid", "--timeout", "1h")
    assert "is no duration" in family.fails(2, "start", "grandkid", "--run-timeout", "long")
    assert "more than 0" in family.fails(2, "start", "grandkid", "--run-timeout", "0s")


# -- run --------------------------------------------------------------------------------


def test_run_follows_an_instance_through_its_runs(family: Cli) -> None:
    repair(family)
    result = family("run", "family:counts", "--id", "c")
    assert (result.exit_code, result.stdout) == (0, "3\n"), result.output
    assert result.stderr.count("goes on as a new run") == 3
    result = family("run", "family:stubborn")
    assert (result.exit_code, result.stdout) == (0, '"at last"\n'), result.output
    assert "stubborn() started, attempt 3" in result.stderr


def test_run_with_children(family: Cli) -> None:
    child = family.spawn("run", "family:parent", "--id", "p")
    for number in range(2):
        while family("signal", f"grandkid-{number}", "grow", f'"{number}"').exit_code:
            assert child.poll() is None
    out, said = child.communicate(timeout=30)
    assert json.loads(out) == ["0", "1"], said
    assert 'child kid-1 → "1"' in said


def test_run_of_what_somebody_pauses(family: Cli) -> None:
    child = family.spawn("run", "family:grandkid", "--id", "g")
    follow(child, "grandkid() started")
    family.ok("pause", "g")
    follow(child, "paused; `durable resume g` goes on")
    family.ok("resume", "g")
    family.ok("signal", "g", "grow", '"up"')
    out, said = child.communicate(timeout=30)
    assert out == '"up"\n', said


# -- events -----------------------------------------------------------------------------


def test_every_event_has_a_sentence() -> None:
    written = set(event_text._WRITERS)
    assert [cls for cls in events.KINDS.values() if cls not in written] == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (events.TimerFired(1, EPOCH, events.RUN_DEADLINE), "the end of its time is due"),
        (events.PatchMarked(1, EPOCH, "fraud\n"), r"runs the new code of fraud\n"),
        (events.ContinuedAsNew(1, EPOCH, (4,), {"a": 1}), "goes on as a new run, with (4, a=1)"),
        (events.ChildFailed(1, EPOCH, 3, "E: x", False), "command 3 could not be started: E: x"),
        (events.ChildCancelRequested(1, EPOCH, 3), "command 3 is asked to stop"),
        (events.ActivityFailed(1, EPOCH, 3, "E: late", 0), "command 3 failed: E: late"),
        (events.ActivityCancelled(1, EPOCH, 3, "E"), "command 3 cancelled after a failure: E"),
        (events.PromiseFailed(1, EPOCH, 3, "E: no"), "command 3 failed: E: no"),
    ],
)  # fmt: skip
def test_sentences(event: events.Event, text: str) -> None:
    writer = event_text.EventText(utc=True)
    started = events.WorkflowStarted(0, EPOCH, "w", 1, (), {}, None, [], None, "q", b"")
    assert writer.line(started) == "w() started"
    assert writer.line(event) == text
