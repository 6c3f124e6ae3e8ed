"""The workflows of the examples, tested with the kit as their authors would test them."""

from __future__ import annotations

import importlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples_kit import EXAMPLES

from durable.errors import WorkflowCancelledError
from durable.testing import Call, WorkflowEnv, crash_everywhere, explore

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _examples_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_approval() -> None:
    approval = module("approval")
    env = WorkflowEnv(approval.approval)
    env.at(minutes=1, do=lambda: env.signal("decide", approval.Decision(by="bob", yes=True)))
    assert env.run("holiday", 3600) == "holiday: yes, says bob"
    assert WorkflowEnv(approval.approval).run("a rise", 3600) == "a rise: nobody answered"


@pytest.mark.parametrize("on_cancel", ["wait", "request", "abandon"])
def test_cancel_cleanup(on_cancel: str) -> None:
    example = module("cancel_cleanup")
    env = WorkflowEnv(example.build, activities=[example.remove_files])
    env.mock(example.compile_all, returns="compiled", takes=3600)
    env.at(minutes=1, do=lambda: env.cancel("power cut"))
    with pytest.raises(WorkflowCancelledError, match="power cut"):
        env.run(on_cancel, 3600)
    env.assert_called(example.remove_files)
    assert env.handle.vars()["steps"][-2:] == ["cancelled", "removed"]


def test_a_cancel_of_a_parent() -> None:
    example = module("cancel_cleanup")
    env = WorkflowEnv(example.nightly, modules=[example])
    env.mock(example.compile_all, returns="compiled", takes=60)
    env.at(minutes=2, do=env.cancel)
    assert env.run() == "completed without a build"
    env.assert_called(example.build, "request", 3600)


def test_fan_out() -> None:
    example = module("fan_out")
    env = WorkflowEnv(example.total, activities=[example.scaled])
    assert env.run(40) == 41340
    assert env.calls(example.scaled) == [Call((number,)) for number in range(40)]
    assert explore(example.total, 4, activities=[example.scaled], seeds=20).runs == 20


def test_heartbeat_download() -> None:
    example = module("heartbeat_download")
    env = WorkflowEnv(example.fetch)
    env.mock(example.download, side_effect=[ConnectionError("it broke off"), 10240], takes=9)
    assert env.run("http://here/big", "big") == 10240
    assert [call.attempt for call in env.calls(example.download)] == [1, 2]


def test_human_approval() -> None:
    example = module("human_approval")
    env = WorkflowEnv(example.ask)
    env.mock(example.mail)
    env.at(hours=3, do=lambda: env.complete(env.calls("mail")[0].args[2], "yes"))
    assert env.run("a desk", "mails", 3600, 24 * 3600) == "a desk: yes"
    assert [call.args[1] for call in env.calls("mail")] == [
        "May I have a desk?",
        "Please decide: a desk?",
    ]
    env = WorkflowEnv(example.ask)
    env.mock(example.mail, times=2)
    assert env.run("a plane", "mails", 3600, 7200) == "a plane: nobody decided"


def test_orders() -> None:
    example = module("orders")
    env = WorkflowEnv(example.process_order, activities=[example.ship])
    env.mock(example.charge, side_effect=[ConnectionError("no answer"), "receipt"])
    env.at(hours=1, do=lambda: env.signal("approve", "bob"))
    assert env.run("o-1", 500) == "shipped-o-1"
    env = WorkflowEnv(example.process_order, modules=[example])
    assert env.run("o-1", 500) == "expired"
    assert env.now >= START + timedelta(hours=24)
    assert env.calls(example.ship) == []


def test_a_report_has_each_line_once(tmp_path: Path) -> None:
    example = module("orders")
    report = tmp_path / "report.txt"

    def begin(env: WorkflowEnv) -> None:
        report.unlink(missing_ok=True)

    def each_line_once(env: WorkflowEnv) -> None:
        if str(env.status) == "completed":
            assert report.read_text() == "o-1 one\no-2 two\n"

    explore(
        example.write_report, str(report), {"o-1": "one", "o-2": "two"}, modules=[example],
        setup=begin, invariants=[each_line_once],
    )  # fmt: skip


def test_parent_child() -> None:
    example = module("parent_child")
    env = WorkflowEnv(example.trip, modules=[example])
    assert env.run(["Rome", "Atlantis"]) == [
        "a room in Rome, and a guide",
        "Atlantis: no road leads there",
        "2 insured",
    ]
    env = WorkflowEnv(example.trip, workflows=[example.insurance])
    env.mock(example.stay, returns="somewhere", times=2)
    assert env.run(["Rome", "Paris"]) == ["somewhere", "somewhere", "2 insured"]


def test_parent_close() -> None:
    example = module("parent_child")
    env = WorkflowEnv(example.camp, modules=[example])
    assert env.run() == "we are home"
    env.advance(seconds=1)
    assert {child.id: str(child.status()) for child in env.handle.children()} == {
        "camp-1/cancel": "cancelled",
        "camp-1/terminate": "terminated",
        "camp-1/abandon": "running",
    }


def test_polling_continue_as_new() -> None:
    example = module("polling_continue_as_new")
    env = WorkflowEnv(example.follow)
    feed = [("one", 4), ("", 4), ("two", 8), ("", 8), ("end", 12)]
    env.mock(example.next_line, side_effect=feed)
    env.at(do=lambda: env.signal("reader", "ann"), seconds=0)
    assert env.run("feed") == "run 2 tells ann of 2 lines"
    assert env.calls(example.next_line)[3].args == ("feed", 8)


def test_resume(capsys: pytest.CaptureFixture[str]) -> None:
    example = module("resume")
    assert WorkflowEnv(example.count, modules=[example]).run(3, 1) == "counted to 3"
    assert capsys.readouterr().out == "1\n2\n3\n"
    found = crash_everywhere(example.count, 3, 1, modules=[example])
    assert found.statuses == {"completed": found.runs}


def test_retries() -> None:
    example = module("retries")
    env = WorkflowEnv(example.retries, modules=[example])
    env.mock(example.slow, takes=1)
    assert env.run() == [
        "worked at attempt 3",
        "durable.errors.PermanentError at attempt 1: the card is stolen",
        "UnicodeError at attempt 1: not a name",
        "durable.errors.TimeoutExpired at attempt 2: slow took longer than 0.05 s",
    ]


def test_saga(tmp_path: Path) -> None:
    example = module("saga")
    path = str(tmp_path / "bank.db")

    def begin(env: WorkflowEnv) -> None:
        Path(path).unlink(missing_ok=True)

    def nothing_is_lost(env: WorkflowEnv) -> None:
        found = example.balances(path)
        assert sum(found.values()) == 300, found
        done = {"ann": 70, "ben": 110, "cy": 120}
        assert found == (done if str(env.status) == "completed" and env.result() == "done"
                         else dict.fromkeys(done, 100))  # fmt: skip

    for bookings in ({"ann": -30, "ben": 10, "cy": 20}, {"ann": -30, "ben": 10, "dan": 20}):
        explore(
            example.transfer, path, bookings, modules=[example], setup=begin, seeds=25,
            invariants=[nothing_is_lost],
        )  # fmt: skip


def test_a_saga_that_is_cancelled(tmp_path: Path) -> None:
    example = module("saga")
    path = str(tmp_path / "bank.db")
    env = WorkflowEnv(example.transfer, modules=[example])
    env.at(minutes=90, do=lambda: env.cancel("changed my mind"))
    with pytest.raises(WorkflowCancelledError, match="changed my mind"):
        env.run(path, {"ann": -30, "ben": 10, "cy": 20}, 3600)
    assert [call.args[2] for call in env.calls(example.take_back)] == ["ben", "ann"]
    assert example.balances(path) == {"ann": 100, "ben": 100, "cy": 100}
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM bookings").fetchone() == (3 + 2 + 2,)
    db.close()


def test_side_effect() -> None:
    example = module("side_effect")
    env = WorkflowEnv(example.password_reset)
    env.start("ann", 60)
    env.signal("code", env.handle.vars()["code"])
    assert env.result() == "ann: reset"
    env = WorkflowEnv(example.password_reset)
    env.at(seconds=59, do=lambda: env.signal("code", "not a code"))
    assert env.run("ben", 60) == "ben: wrong code"
    assert WorkflowEnv(example.password_reset).run("cy", 60) == "cy: too late"


def test_subscription() -> None:
    example = module("subscription")
    env = WorkflowEnv(example.subscription, modules=[example])
    month = timedelta(days=30).total_seconds()
    assert env.run("card-2", 1000, 7, month) == {"paid": 714, "overdue": 286}
    times = [call.at for call in env.calls(example.pay)]
    assert times == [START + timedelta(days=30 * cycle) for cycle in range(1, 8)]


def test_sum2rn() -> None:
    example = module("sum2rn")
    result = WorkflowEnv(example.sum2rn, modules=[example]).run(100)
    assert result == 628543225910992100 + 5567767222281510116


def test_timeouts() -> None:
    example = module("timeouts")
    env = WorkflowEnv(example.limits.options(id="limits"), modules=[example])
    env.mock(example.hang, takes=60)
    lines = dict(line.split(": ", 1) for line in env.run())
    assert "took longer than 0.05 s" in lines["an attempt"]
    assert "sent no heartbeat for 0.05 s" in lines["heartbeats"]
    assert "had no result 0.05 s after it was scheduled" in lines["all of it"]
    assert "no answer" in lines["retries"]
    assert len(lines) == 8


def test_versions() -> None:
    example = module("versioned")
    env = WorkflowEnv(example.order, modules=[example])
    env.start()
    env.signal("go")
    assert env.result() == "by the new rules"
    env = WorkflowEnv(example.parcel, modules=[example])
    env.at(hours=1, do=lambda: env.signal("go"))
    assert env.run() == "weighed and scanned"


def test_every_example_is_tested_here() -> None:
    text = Path(__file__).read_text("utf-8")
    names = [path.stem for path in EXAMPLES.glob("*.py")]
    assert [name for name in names if f'module("{name}")' not in text] == []
