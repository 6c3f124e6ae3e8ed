"""What surrounds the code of a workflow: propagated context, contextvars, info, spans."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from flows import charge, child
from stepper import Stepper

from durable import (
    Cancelled,
    Codec,
    Workflow,
    gather,
    info,
    logger,
    now,
    side_effect,
    sleep,
    span,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import PayloadError, UsageError
from durable.interpreter import StepAborted
from durable.propagation import Propagators

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Locale:
    """A propagator that is an object. entered: restored and not left."""

    def __init__(self) -> None:
        self.value = ""
        self.entered = 0

    def inject(self) -> dict[str, str]:
        return {"locale": self.value} if self.value else {}

    @contextmanager
    def restore(self, carried: dict[str, str]) -> Iterator[None]:
        before, self.value = self.value, carried["locale"]
        self.entered += 1
        yield
        self.entered -= 1
        self.value = before


def contexts(step: Stepper) -> list[Any]:
    """What was carried along with each command."""
    decode = step.codec.decode
    return [decode(e.context) if e.context else None for e in step.events() if has_context(e)]


def has_context(event: Any) -> bool:
    return type(event).__name__ in ("ActivityScheduled", "ChildStarted")


def test_what_the_caller_carries_is_restored_and_carried_on() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield gather(charge.call("a"), child.call("b"))
        tenant.set("changed")
        yield charge.call("c")
        return tenant.get()

    locale = Locale()
    context = Codec().encode({"tenant": "acme", "Locale": {"locale": "de"}, "unknown": 1})
    step = Stepper(flow, context=context, propagators=Propagators([tenant, locale]), replays=False)
    assert locale.entered == 1
    step.complete(0)
    step.child_completes(1)
    step.complete(2)
    both = {"tenant": "acme", "Locale": {"locale": "de"}}
    assert contexts(step) == [both, both, {**both, "tenant": "changed"}]
    assert [task.context for task in [*step.decision.tasks.values()]] == []
    assert step.result() == "changed"
    assert (locale.entered, locale.value) == (0, "")
    assert tenant.get() == "nobody"


def test_a_workflow_that_is_dropped_leaves_what_it_had_entered() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield wait_signal("never")

    locale = Locale()
    context = Codec().encode({"Locale": {"locale": "de"}})
    step = Stepper(flow, context=context, propagators=Propagators([locale]), replays=False)
    step.drop()
    assert locale.entered == 0


def test_each_coroutine_has_a_context_of_its_own() -> None:
    def task(name: str) -> Workflow[str]:
        inherited = tenant.get()
        token = tenant.set(name)
        yield charge.call(name)
        current = tenant.get()
        tenant.reset(token)
        return f"{inherited} {current} {tenant.get()}"

    @workflow
    def flow() -> Workflow[list[str]]:
        tenant.set("root")
        tasks = [spawn(task("a")), spawn(task("b"))]
        tenant.set("later")
        yield wait_signal("go")
        return [*(yield gather(*tasks)), tenant.get()]

    step = Stepper(flow, propagators=Propagators([tenant]))
    assert [c["tenant"] for c in contexts(step)] == ["a", "b"]
    step.signal("go")
    step.complete(0)
    step.complete(1)
    assert step.result() == ["root a root", "root b root", "later"]


def test_the_context_of_the_worker_does_not_reach_the_workflow() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield charge.call("a")
        return tenant.get()

    token = tenant.set("worker")
    try:
        step = Stepper(flow, propagators=Propagators([tenant]))
        step.complete(0)
    finally:
        tenant.reset(token)
    assert contexts(step) == [None]
    assert step.result() == "nobody"


@pytest.mark.parametrize("given", [RuntimeError("no locale"), {"locale": object()}])
def test_a_propagator_that_fails_stops_the_step(given: Any) -> None:
    class Broken(Locale):
        def inject(self) -> dict[str, str]:
            if isinstance(given, Exception):
                raise given
            found: dict[str, str] = given
            return found

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(sleep(1), charge.call("a"))
        except Exception:
            return "it was caught, and no replay would do the same"
        return "ok"

    with pytest.raises(StepAborted, match=r"a propagator failed: .*(no locale|cannot store)"):
        Stepper(flow, propagators=Propagators([Broken()]))


def test_a_variable_that_cannot_be_stored_raises_at_the_yield_in_a_replay_too() -> None:
    @workflow
    def flow() -> Workflow[str]:
        tenant.set(object())  # type: ignore[arg-type]
        with pytest.raises(PayloadError, match="context"):
            yield gather(sleep(1), charge.call("a"))
        tenant.set("ok")
        yield charge.call("b")
        return "ok"

    step = Stepper(flow, propagators=Propagators([tenant, Locale()]))
    assert step.kinds() == ["WorkflowStarted", "ActivityScheduled"]
    step.complete(0)
    assert step.result() == "ok"


def test_context_that_cannot_be_restored_fails_the_workflow() -> None:
    class Broken(Locale):
        name = "Broken"

        @contextmanager
        def restore(self, carried: dict[str, str]) -> Iterator[None]:
            raise RuntimeError("no locale")
            yield

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(0)

    context = Codec().encode({"Broken": {"locale": "de"}})
    step = Stepper(flow, context=context, propagators=Propagators([Broken()]))
    assert step.failure().message == "no locale"


def test_a_reissued_activity_has_its_context_again() -> None:
    @workflow
    def flow() -> Workflow[None]:
        tenant.set("mine")
        yield charge.call("a")

    step = Stepper(flow, propagators=Propagators([tenant]))
    step.interpreter = step.replay(flow)
    step.retry()
    task = step.decision.tasks[0]
    assert task.context is not None
    assert step.codec.decode(task.context) == {"tenant": "mine"}


def test_info_tells_about_the_run() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        yield sleep(1)
        about = info()
        return [
            about.instance_id, about.run, about.workflow, about.version, about.queue,
            about.started_at, about.history_length, about.parent, about.attempt, about.tags,
            about.memo, now(),
        ]  # fmt: skip

    step = Stepper(flow, run=2, parent=["the-parent", 1, 4])
    started = step.interpreter.at
    step.fire(0)
    result = step.result()
    assert result[:5] == ["instance", 2, "flow", 1, "default"]
    assert result[5:] == [started, 3, "the-parent", 1, (), None, step.interpreter.at]
    with pytest.raises(UsageError, match="only inside a running workflow"):
        info()


def test_is_replaying_and_the_logger_tell_a_replay(caplog: pytest.LogCaptureFixture) -> None:
    replaying: list[bool] = []

    @workflow
    def flow() -> Workflow[str]:
        replaying.append(info().is_replaying)
        logger().warning("said once", extra={"more": 1})
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    assert replaying == [False, True]
    [record] = caplog.records
    assert (record.name, record.message) == ("durable.workflow", "said once")
    assert (record.instance, record.run, record.more) == ("instance", 1, 1)  # type: ignore[attr-defined]
    step.drop()


def test_now_never_goes_back() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        first = now()
        yield wait_signal("go")
        return [first, now()]

    step = Stepper(flow)
    step.clock -= 3_600_000_000
    step.signal("go")
    first, second = step.result()
    assert first == second == step.interpreter.at


# -- spans --------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Spans that a module in the place of opentelemetry is told of."""
    made: list[Any] = []

    class Span:
        def __init__(self, name: str, attributes: Any, start_time: int) -> None:
            self.name, self.attributes, self.start = name, attributes, start_time
            self.error: Any = None
            self.ended: int | None = None
            self.status: Any = None
            made.append(self)

        def record_exception(self, error: Any, timestamp: int) -> None:
            self.error = error

        def set_status(self, status: Any, text: str) -> None:
            self.status = status

        def end(self, at: int) -> None:
            self.ended = at

    tracer = SimpleNamespace(start_span=Span)
    trace = SimpleNamespace(get_tracer=lambda name: tracer, StatusCode=SimpleNamespace(ERROR="E"))
    monkeypatch.setitem(sys.modules, "opentelemetry", SimpleNamespace(trace=trace))
    return made


@workflow
def traced() -> Workflow[str]:
    with span("outer", order="o-1"):
        yield sleep(1)
        try:
            with span("inner"):
                yield wait_signal("go")
                raise ValueError("no")
        except ValueError:
            yield side_effect(int)
    return "done"


def test_a_span_is_made_once_when_its_block_ends(spans: list[Any]) -> None:
    step = Stepper(traced)
    began = step.clock
    step.fire(0)
    inner = step.clock
    assert spans == []
    step.signal("go")
    assert step.result() == "done"
    assert [one.name for one in spans] == ["inner", "outer"]
    assert (spans[0].start, spans[0].ended) == (inner * 1000, step.clock * 1000)
    assert (spans[1].start, spans[1].ended) == (began * 1000, step.clock * 1000)
    assert (str(spans[0].error), spans[0].status, spans[1].status) == ("no", "E", None)
    assert spans[1].attributes == {
        "durable.instance": "instance",
        "durable.run": 1,
        "durable.workflow": "traced",
        "order": "o-1",
    }
    assert "SideEffectRecorded" in step.kinds()


def test_a_cancelled_block_is_a_span_with_an_error_and_a_dropped_one_is_none(
    spans: list[Any],
) -> None:
    step = Stepper(traced)
    step.drop()
    assert spans == []
    step = Stepper(traced)
    step.cancel()
    [made] = spans
    assert isinstance(made.error, Cancelled)


def test_a_span_without_opentelemetry_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    step = Stepper(traced)
    step.fire(0)
    step.signal("go")
    assert step.result() == "done"
    with pytest.raises(UsageError, match="only inside"), span("x"):
        pass
