"""`Handle.where`: the lines at which a workflow waits, now and at every moment of its past."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest
import where_flows as flows
from engine_kit import Engine, StoreProxy, kinds, proxy, until
from where_kit import begin, happens, root

from durable import Client, Codec, Orchestrator, Status
from durable.client import Where
from durable.errors import UsageError
from durable.events import TimerStarted
from durable.interpreter import WAITS
from durable.interpreter.waiting import DESCRIPTIONS
from durable.testing import replay


def test_the_stack_with_lines_and_variables(engine: Engine) -> None:
    where = begin(engine, flows.nested, "o-1").where()
    assert (where.id, where.workflow, where.version, where.run) == ("i", "nested", 1, 1)
    assert (where.status, where.seq, where.length) == (Status.RUNNING, 0, 1)
    assert where.at is not None
    outer, middle, inner = root(where).frames
    assert [f.function for f in (outer, middle, inner)] == ["nested", "helper", "inner"]
    assert {f.file for f in (outer, middle, inner)} == {flows.__file__}
    assert (outer.line, inner.line) == (flows.line_of("nested"), flows.line_of("inner"))
    assert outer.locals == {"order": "'o-1'"}
    assert middle.locals == {
        "order": "'o-1'",
        "hostile": "<Hostile: its repr raised ValueError>",
        "many": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]",
    }
    assert inner.locals == {"order": "'o-1'", "name": "'O-1'"}
    first = inner.line - 2
    assert [number for number, _ in inner.source] == [first, first + 1, first + 2]
    assert inner.source[1] == (first + 1, "    name = order.upper()")
    waits = root(where).waits_for
    assert waits is not None
    assert (waits.kind, waits.what) == ("signal", "O-1")


def test_every_coroutine_and_every_branch(engine: Engine) -> None:
    handle = begin(engine, flows.many)
    happens(handle, "ActivityCompleted")
    where = handle.where()
    assert [place.name for place in where.coroutines] == ["root", "branch", "1"]
    main, branch, command = where.coroutines
    assert main.waits_for is not None
    assert [(p.name, p.kind, p.what) for p in main.waits_for.parts] == [
        ("yes", "signal", "yes"),
        ("no", "timer", "sleep_until"),
    ]
    assert main.waits_for.parts[1].due_at == flows.DUE
    assert branch.waits_for is not None
    assert (branch.waits_for.kind, branch.waits_for.what) == ("gather", "2 of 3")
    assert [(p.kind, p.done) for p in branch.waits_for.parts] == [
        ("activity", True),
        ("signal", False),
        ("timer", False),
    ]
    assert [frame.line for frame in branch.frames] == [flows.line_of("branch")]
    assert command.frames == ()
    assert command.waits_for is not None
    assert command.waits_for.due_at == flows.DUE


EACH = [
    ("activity", "activity", "by_hand()"),
    ("retried", "activity", "later(7)"),
    ("child", "child", "child(3), the instance i-child"),
    ("timer", "timer", "sleep_until"),
    ("signal", "signal", "go"),
    ("promise", "promise", "approval"),
    ("task", "task", "sleeper"),
    ("send", "channel", "room in <Channel of 0>"),
    ("receive", "channel", "a value from <Channel of 0>"),
    ("condition", "condition", "<lambda>, line"),
    ("timed", "with_timeout", "1e+08 s"),
]


@pytest.mark.parametrize(("asked", "kind", "what"), EACH, ids=[row[0] for row in EACH])
def test_what_is_waited_for(engine: Engine, asked: str, kind: str, what: str) -> None:
    where = begin(engine, flows.each, asked).where()
    waits = root(where).waits_for
    assert waits is not None
    assert waits.kind == kind
    assert waits.what.startswith(what)
    assert root(where).frames[-1].line == flows.line_of("each")
    assert waits.what in str(where)


def test_every_command_can_be_described() -> None:
    assert set(DESCRIPTIONS) == set(WAITS.values())


def test_the_attempt_of_an_activity(engine: Engine) -> None:
    handle = begin(engine, flows.each, "retried")
    until(lambda: handle.describe()["tasks"][0]["attempt"] == 2)
    waits = root(handle.where()).waits_for
    assert waits is not None
    assert waits.note == "attempt 2 waiting"
    by_hand = begin(engine, flows.each, "activity", id="other")
    until(lambda: by_hand.describe()["tasks"][0]["state"] == "awaits completion")
    waits = root(by_hand.where()).waits_for
    assert waits is not None
    assert waits.note == "attempt 1 awaits completion"
    assert waits.due_at is not None  # its schedule_timeout
    assert "attempt 1 awaits completion" in str(by_hand.where())


def test_the_deadline_of_a_block(engine: Engine) -> None:
    handle = begin(engine, flows.hurries)
    first = handle.history()[1]
    assert isinstance(first, TimerStarted)
    where = handle.where()
    assert [(place.name, place.deadline) for place in where.coroutines] == [
        ("root", first.due_at), ("inside", first.due_at), ("shielded", None),
    ]  # fmt: skip
    assert str(where).count("its block has a timeout") == 2


def test_on_signal_and_what_nobody_has_read(engine: Engine) -> None:
    handle = begin(engine, flows.talks)
    for n in range(3):
        handle.signal("n", n)
    handle.signal("other")
    happens(handle, "SignalReceived", 4)
    where = handle.where()
    assert root(where).frames[0].locals == {"found": "[0, 1, 2]"}
    assert [place.name for place in where.coroutines] == ["root", "on_signal(n)"]
    assert where.unread == ("other",)
    assert "signals that nobody has read: other" in str(where)
    assert [root(handle.where(seq)).frames[0].locals["found"] for seq in range(4)] == [
        "[]", "[0]", "[0, 1]", "[0, 1, 2]",
    ]  # fmt: skip


def test_every_moment_of_the_past(engine: Engine) -> None:
    """Forwards, backwards and each anew: it is the same."""
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")
    handle.signal("go", "!")
    handle.result(timeout=20)
    length = len(handle.history())
    anew = [handle.where(seq) for seq in range(length)]
    with handle.walk() as walk:
        assert [walk.where(seq) for seq in range(length)] == anew
        assert [walk.where(seq) for seq in reversed(range(length))] == anew[::-1]
        assert walk.moments == list(dict.fromkeys(where.seq for where in anew))
    assert all(where.problem is None for where in anew)
    assert [root(where).frames[0].locals for where in anew[:3]] == [
        {"first": "'side'"}, {"first": "'side'"}, {"first": "'side'"},
    ]  # fmt: skip
    assert [handle.vars(seq) for seq in range(length)] == [
        {"stage": 3 if seq > 2 else 2} for seq in range(length)
    ]
    assert handle.vars() == handle.vars(length - 1) == {"stage": 3}


def test_nothing_happens(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """No activity, no side effect, no clean-up, no log line, no write: it only looks."""
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")
    until(lambda: handle.describe()["owner"] == "")
    before, row = handle.history(), handle.describe()
    flows.EFFECTS.clear()
    caplog.clear()
    asked: set[str] = set()
    with caplog.at_level(logging.DEBUG, "durable"):
        watched: Any = _Watched
        client = Client(watched(engine.store, asked), workflows=flows.FLOWS)
        for seq in range(len(before)):
            client.get("i").where(seq)
            client.get("i").vars(seq)
        client.get("i").where()
        gc.collect()
    assert asked == {"instance", "history", "inbox", "tasks"}
    assert flows.EFFECTS == []
    assert caplog.records == []
    assert (handle.history(), handle.describe()) == (before, row)
    handle.signal("go", "!")
    assert handle.result(timeout=20) == "!side"
    assert flows.EFFECTS == ["double", "cleaned"]


@proxy
class _Watched(StoreProxy):
    """Notes what it is asked."""

    def __init__(self, inner: Any, asked: set[str]) -> None:
        super().__init__(inner)
        self._asked = asked

    def __getattribute__(self, name: str) -> Any:
        value = StoreProxy.__getattribute__(self, name)
        if not name.startswith("_") and name not in ("inner", "url"):
            self._asked.add(name)
        return value


def ends(engine: Engine, flow: Any, act: Any = None, status: Status = Status.COMPLETED) -> Where:
    handle = begin(engine, flow)
    if act is not None:
        act(handle)
    engine.becomes(handle, status)
    where = handle.where()
    assert where.status is status
    assert where.seq == where.length - 1
    return where


def test_one_that_failed(engine: Engine) -> None:
    where = ends(engine, flows.fails, lambda h: h.signal("go", 3), Status.FAILED)
    assert where.ended == "failed: ValueError: not 3"
    assert root(where).frames[0].line == flows.line_of("fails")
    assert [(frame.function, frame.line) for frame in where.raised] == [
        ("fails", flows.line_of("fails") + 1), ("refuse", flows.line_of("refuse")),
    ]  # fmt: skip
    assert where.raised[1].locals == {"number": "3"}
    lines = str(where).splitlines()
    ended = lines.index("ended: failed: ValueError: not 3")
    assert lines[ended + 1].endswith(f"where_flows.py:{flows.line_of('fails') + 1}, in fails")
    assert "just before that:" in lines[ended + 2 :]
    assert where.coroutines == engine.client.get("i").where(0).coroutines


def test_a_failure_of_a_task_that_nobody_has_waited_for(engine: Engine) -> None:
    where = ends(engine, flows.loses_a_failure, status=Status.FAILED)
    assert where.ended == "failed: ValueError: not 7"
    assert where.raised[-1].function == "refuse"


def test_one_that_failed_where_it_waited(engine: Engine) -> None:
    """Its stack is not shown twice."""
    where = ends(engine, flows.meets_a_failure, status=Status.FAILED)
    (waits, raised) = (root(where).frames, where.raised)
    assert [frame.line for frame in raised] == [flows.line_of("meets_a_failure")]
    assert [frame.line for frame in waits] == [frame.line for frame in raised]
    assert str(where).count("in meets_a_failure") == 1
    assert str(where).splitlines()[0] == "i: meets_a_failure version 1, run 1, failed"


def test_one_that_failed_at_once(engine: Engine) -> None:
    where = ends(engine, flows.fails_at_once, status=Status.FAILED)
    assert (where.ended, where.coroutines) == ("failed: ValueError: not 0", ())
    assert [frame.function for frame in where.raised] == ["fails_at_once", "refuse"]


def test_what_others_have_named_cannot_look_like_a_line_of_ours(engine: Engine) -> None:
    forged = "x\nended: completed\x1b[2J"
    handle = begin(engine, flows.named, forged)
    handle.signal(forged)
    handle.signal(forged)
    handle.cancel(forged)
    happens(handle, "CancelRequested")
    where = handle.where()
    assert where.unread == (forged,)
    for text in (str(where), *map(str, where.coroutines)):
        assert all(line.isprintable() and line != "ended: completed" for line in text.split("\n"))
        assert "x\\nended: completed\\x1b[2J" in text
    handle.terminate(forged)
    assert all(line.isprintable() for line in str(handle.where()).split("\n"))


def test_a_cancel_that_was_requested(engine: Engine) -> None:
    handle = begin(engine, flows.named, "name")
    assert handle.where().cancel is None
    handle.cancel("enough")
    happens(handle, "CancelRequested")
    where = handle.where()
    assert (where.cancel, where.status) == ("enough", Status.RUNNING)
    assert "its cancel was requested: enough" in str(where).splitlines()
    assert handle.where(0).cancel is None


def test_what_has_arrived_and_was_not_applied(engine: Engine) -> None:
    handle = engine.start(flows.fails)
    handle.signal("go", 1)
    assert handle.where().arrived == ("signal go",)
    begin(engine, flows.named, "name", id="other")
    other = engine.client.get("other")
    engine.stop()
    other.signal("x\n")
    other.cancel()
    where = other.where()
    assert (where.arrived, where.cancel, where.unread) == (("signal x\n", "a cancel"), None, ())
    assert "arrived, and not applied yet: signal x\\n, a cancel" in str(where).splitlines()
    for _ in range(30):
        other.signal("again")
    assert other.where().arrived[-2:] == ("signal again", "12 more")
    other.terminate()
    assert other.where().arrived == ()


def test_one_that_completed_at_once(engine: Engine) -> None:
    where = ends(engine, flows.at_once)
    assert (where.ended, where.coroutines) == ("completed → 7", ())


def test_one_that_was_terminated(engine: Engine) -> None:
    where = ends(engine, flows.fails, lambda h: h.terminate("enough"), Status.TERMINATED)
    assert where.ended == "terminated: enough"
    assert root(where).frames[0].line == flows.line_of("fails")


def test_one_that_was_cancelled(engine: Engine) -> None:
    flows.TOKENS.clear()
    handle = begin(engine, flows.cleans)
    handle.cancel("enough")
    until(lambda: flows.TOKENS)
    assert root(handle.where()).frames[0].line == flows.line_of("cleans")
    (token,) = flows.TOKENS
    engine.client.complete(token)
    engine.becomes(handle, Status.CANCELLED)
    where = handle.where()
    assert where.ended == "cancelled: enough"
    assert root(where).frames[0].line == flows.line_of("cleans")


def test_one_that_is_asked_to_stop(engine: Engine) -> None:
    handle = begin(engine, flows.each, "child")
    handle.cancel()
    engine.becomes(handle, Status.CANCELLED)
    where = handle.where()
    assert where.ended == "cancelled"
    waits = root(where).waits_for
    assert waits is not None
    assert waits.asked_to_stop
    assert "asked to stop" in str(where)


def test_each_run_of_one_that_continued_as_new(engine: Engine) -> None:
    handle = begin(engine, flows.counts, 1)
    handle.signal("n", 10)
    until(lambda: handle.describe()["run"] == 2 and handle.history())
    before, after = handle.where(run=1), handle.where()
    assert before.ended == "went on as run 2, with (11)"
    assert root(before).frames[0].locals == {"n": "1"}
    assert (after.run, after.ended) == (2, None)
    assert root(after).frames[0].locals == {"n": "11"}
    with pytest.raises(UsageError, match=r"runs 1 to 2, and no run 3"):
        handle.where(run=3)


def test_a_deadlock(engine: Engine) -> None:
    handle = begin(engine, flows.deadlocked)
    engine.becomes(handle, Status.BLOCKED)
    where = handle.where()
    assert where.reason.startswith("deadlock")
    assert root(where).frames[0].line == flows.line_of("deadlocked")


def test_a_failure_that_nobody_has_waited_for(engine: Engine) -> None:
    handle = begin(engine, flows.leaves_a_failure)
    happens(handle, "ActivityCompleted")
    lost = handle.where().coroutines[1]
    assert (lost.name, lost.waits_for) == ("breaks", None)
    assert lost.failed.startswith(f"ValueError('lost'), at {flows.__file__}:")
    assert "task breaks has failed, and nobody has waited for it" in str(lost)


def test_a_signal_that_is_on_its_way(engine: Engine) -> None:
    """A moment between a step and its answer."""
    begin(engine, flows.nested, "x", id="target")
    where = begin(engine, flows.sends, "target").where(0)
    waits = root(where).waits_for
    assert waits is not None
    assert (waits.kind, waits.what) == ("send_signal", "go to target")


def test_one_that_has_not_begun(engine: Engine) -> None:
    handle = engine.start(flows.fails)
    where = handle.where()
    assert (where.seq, where.at, where.coroutines, where.length) == (None, None, (), 0)
    assert "nothing has happened yet" in str(where)
    assert handle.vars(run=1) == {}
    with pytest.raises(UsageError, match="has no events yet, and no event 0"):
        handle.where(0)


def test_one_that_was_terminated_before_it_began(engine: Engine) -> None:
    handle = engine.start(flows.fails)
    handle.terminate("enough")
    where = handle.where()
    assert (where.seq, where.length, where.coroutines) == (0, 1, ())
    assert where.ended == "terminated: enough"
    assert handle.where(0) == where
    assert handle.vars(0) == {}
    assert [run.events for run in replay(flows.fails, handle)] == [1]


def test_a_fork_that_no_worker_has_seen(engine: Engine) -> None:
    """What it has was issued by another instance, whose id stands in its arguments."""
    source = begin(engine, flows.says_its_id)
    engine.stop()
    where = source.fork(1, "forked").where()
    assert where.problem is None
    assert root(where).frames[0].line == flows.line_of("says_its_id")


@pytest.mark.parametrize("at", [-1, 1, 99])
def test_an_event_that_is_not_there(engine: Engine, at: int) -> None:
    handle = begin(engine, flows.nested, "x")
    with pytest.raises(UsageError, match=f"has events 0 to 0, and no event {at}"):
        handle.where(at)
    with pytest.raises(TypeError, match="at= takes the seq of an event"):
        handle.where("0")  # type: ignore[arg-type]


def test_what_there_is_much_of_is_counted(engine: Engine) -> None:
    where = begin(engine, flows.wide, 150).where()
    waits = root(where).waits_for
    assert waits is not None
    assert (len(where.coroutines), len(waits.parts)) == (151, 150)
    text = str(where)
    assert "    and 130 more" in text
    assert "and 51 more coroutines" in text


def test_what_is_carried_is_there(store_url: str) -> None:
    with Orchestrator(store_url, [flows], propagators=[flows.TENANT]) as here:
        token = flows.TENANT.set("acme")
        handle = here.client.start(flows.rents)
        flows.TENANT.reset(token)
        until(lambda: handle.history())
        waits = root(handle.where()).waits_for
        assert waits is not None
        assert waits.what == "acme"


class Reversed(Codec):
    """Stands for one that encrypts."""

    def wrap(self, plain: bytes) -> bytes:
        return b"\x01" + plain[::-1]

    def unwrap(self, payload: bytes) -> bytes:
        return payload[:0:-1] if payload[0] == 1 else super().unwrap(payload)


def test_values_are_read_by_the_codec_of_the_client(store_url: str) -> None:
    with Orchestrator(store_url, [flows], codec=Reversed()) as here:
        handle = here.client.start(flows.effects)
        until(lambda: kinds(handle).count("ActivityCompleted"))
        assert root(handle.where()).frames[0].locals == {"first": "'side'"}
        assert handle.vars(0) == {"stage": 2}
