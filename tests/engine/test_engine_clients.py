"""What clients do: start, end, look; and several of them at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, file_url, kinds, proxy, until

from durable import (
    Client,
    Codec,
    Orchestrator,
    Status,
    Workflow,
    activity,
    sleep,
    wait_signal,
    workflow,
)
from durable.client.caller import Caller
from durable.errors import (
    InstanceAlreadyExists,
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    OutcomeUnknown,
    ResultTimeout,
    UsageError,
    WorkflowError,
    WorkflowTerminatedError,
)
from durable.model import moment
from durable.store import Outgoing, Sent, Store, Unavailable
from durable.stores import open_store


@activity
def echo(value: Any) -> Any:
    return value


@workflow
def waits(value: Any = None) -> Workflow[Any]:
    yield wait_signal("go")
    return (yield echo.call(value))


@workflow
def quick(value: int, *, add: int = 0) -> Workflow[int]:
    return int((yield from echo.call(value + add)))


def test_terminate_runs_none_of_its_code(engine: Engine) -> None:
    engine.work([waits], [echo])
    handle = engine.start(waits)
    handle.terminate("enough")
    with pytest.raises(WorkflowTerminatedError, match="enough"):
        handle.result(timeout=20)
    assert handle.status() is Status.TERMINATED
    assert kinds(handle)[-1] == "WorkflowTerminated"
    for act in (handle.signal, handle.cancel, handle.terminate):
        with pytest.raises(InstanceFinished):
            act("x")


def test_result_times_out_and_names_the_status(engine: Engine) -> None:
    handle = engine.start(waits)
    with pytest.raises(ResultTimeout, match="pending") as caught:
        handle.result(timeout=0.01)
    assert isinstance(caught.value, TimeoutError)


def test_runs_and_batches_that_cannot_be(engine: Engine) -> None:
    handle = engine.start(waits.options(id="w"))
    for run in (0, -1, 2):
        with pytest.raises(UsageError, match=f"'w' has runs 1 to 1, and no run {run}"):
            handle.history(run)
    for batch in (0, -1):
        with pytest.raises(UsageError, match=f"batch={batch} must be at least 1"):
            engine.client.purge(datetime.now(UTC), batch=batch)


def test_if_exists(engine: Engine) -> None:
    engine.work([waits], [echo])
    handle = engine.start(waits.options(id="one"), 1)
    with pytest.raises(InstanceAlreadyExists, match="one"):
        engine.start(waits.options(id="one"), 2)
    with pytest.raises(InstanceAlreadyExists, match="has not ended"):
        engine.start(waits.options(id="one", if_exists="restart"), 2)
    used = engine.start(waits.options(id="one", if_exists="use"), 3)
    assert (handle.new, used.new) == (True, False)
    used.signal("go")
    assert handle.result(timeout=20) == used.result(timeout=20) == 1
    again = engine.start(waits.options(id="one", if_exists="restart"), 4)
    again.signal("go")
    assert again.result(timeout=20) == 4
    assert again.describe()["run"] == 2
    assert [e.seq for e in again.history(run=1)] == list(range(len(again.history(run=1))))


def test_start_many_is_all_or_nothing(engine: Engine) -> None:
    engine.work([quick], [echo])
    handles = engine.client.start_many([(quick.options(id=f"m{n}"), n) for n in range(50)])
    assert [h.result(timeout=20) for h in handles] == list(range(50))
    with pytest.raises(InstanceAlreadyExists, match="m7"):
        engine.client.start_many([(quick.options(id=i), 1) for i in ("new", "m7", "newer")])
    with pytest.raises(TypeError):
        engine.client.start_many([(quick.options(id="new"), 1), (quick.options(id="newer"),)])
    assert engine.client.count() == 50
    assert engine.client.start_many([]) == []


def test_a_delayed_start_is_pending(engine: Engine) -> None:
    engine.work([quick], [echo])
    far = engine.start(quick.options(delay=timedelta(hours=1)), 1)
    at = engine.start(quick.options(start_at=datetime.now(UTC) + timedelta(hours=1)), 1)
    before = moment(engine.store.now())
    near = engine.start(quick.options(delay=0.05), 5)
    past = engine.start(quick.options(start_at=datetime(2000, 1, 1, tzinfo=UTC)), 6)
    assert near.result(timeout=20) == 5
    assert past.result(timeout=20) == 6
    assert far.status() is at.status() is Status.PENDING
    assert near.describe()["started_at"] - before >= timedelta(seconds=0.05)
    far.cancel()
    until(lambda: far.status() is Status.CANCELLED)


def test_wrong_arguments_raise_at_the_call(engine: Engine) -> None:
    for args, kwargs in (((), {}), ((1, 2), {}), ((1,), {"ad": 1})):
        with pytest.raises(TypeError, match="quick"):
            engine.client.start(quick, *args, **kwargs)
    assert engine.client.count() == 0
    engine.work([quick], [echo])
    assert engine.client.start(quick, 1, add=2).result(timeout=20) == 3
    by_name = engine.client.start("quick")  # checked where the code is: it fails
    with pytest.raises(WorkflowError, match="value"):
        by_name.result(timeout=20)


def test_delete_and_lookup(engine: Engine) -> None:
    handle = engine.start(waits.options(id="d"))
    with pytest.raises(InstanceNotFinished):
        handle.delete()
    handle.terminate()
    handle.delete()
    for act in (handle.status, handle.delete, lambda: engine.client.signal("d", "x")):
        with pytest.raises(InstanceNotFound):
            act()
    again = engine.start(waits.options(id="d"))
    with pytest.raises(InstanceNotFound, match="anew"):
        handle.status()
    assert again.status() is Status.PENDING  # no worker has begun it


def test_listing(engine: Engine) -> None:
    for number in range(5):
        engine.start(waits.options(id=f"l{number}", tags=["even"] if number % 2 == 0 else []))
    engine.client.terminate("l0")
    client = engine.client
    assert [row.id for row in client.list().rows] == ["l4", "l3", "l2", "l1", "l0"]
    assert [row.id for row in client.list(tag="even", status="pending").rows] == ["l4", "l2"]
    page = client.list(limit=2)
    assert page.cursor is not None
    assert [r.id for r in client.list(limit=2, cursor=page.cursor).rows] == ["l2", "l1"]
    assert client.count(search="l") == 5
    assert client.count(workflow="quick") == 0
    assert client.stats()["instances"]["terminated"] == 1


def test_every_look_is_repeated_while_the_store_is_away(engine: Engine) -> None:
    engine.start(waits.options(id="a"))
    store = Away(engine.store)  # type: ignore[abstract]  # see proxy
    client = Client(store)
    handle = client.get("a")
    looks = (
        handle.status, handle.vars, handle.history, handle.describe, handle.children,
        client.list, client.count, client.stats, client.workers, lambda: client.get("a"),
    )  # fmt: skip
    for look in looks:
        store.away = 3
        look()
        assert store.away < 3
    store.away = 3
    with pytest.raises(ResultTimeout):
        handle.result(timeout=0.01)
    store.away = 10_000
    impatient = Client(store, deadline=0.05)
    for look in (lambda: impatient.get("a"), impatient.list, impatient.stats):
        with pytest.raises(Unavailable):
            look()


def test_a_call_that_may_have_been_stored_is_unknown_though_the_store_is_away_now() -> None:
    def call() -> None:
        answers.append(Unavailable("not now") if answers else OutcomeUnknown("the answer was lost"))
        raise answers[-1]

    answers: list[Exception] = []
    caller = Caller(open_store("memory://"), Codec(), deadline=0.05)
    with pytest.raises(OutcomeUnknown):
        caller.repeat(call)
    assert len(answers) > 1


def test_a_refusal_is_not_final_after_a_call_that_may_take_effect_still() -> None:
    def call() -> Sent:
        if answers:
            return answers.pop()
        answers.append(Sent.FULL)
        raise OutcomeUnknown("the answer was lost")

    answers: list[Sent] = []
    caller = Caller(open_store("memory://"), Codec(), deadline=5)
    with pytest.raises(OutcomeUnknown):
        caller.repeat(call)
    answers = [Sent.FULL]
    assert caller.repeat(call) is Sent.FULL


@proxy
class Away(StoreProxy):
    """For ``away`` calls it cannot be reached."""

    away = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in Store.__dict__:
            return found

        def call(*args: Any) -> Any:
            if self.away:
                self.away -= 1
                raise Unavailable("not now")
            return found(*args)

        return call


def test_what_may_have_happened_is_not_told_to_have_failed(engine: Engine) -> None:
    handle = engine.start(waits.options(id="a"))
    store = GoneAfterwards(engine.store)  # type: ignore[abstract]  # see proxy
    with pytest.raises(OutcomeUnknown, match="done"):
        Client(store, deadline=0.05).signal("a", "x")
    assert store.calls > 1
    instance = engine.store.instance(handle.id)
    assert instance is not None
    assert len(engine.store.inbox(instance.uid)) == 1


@proxy
class GoneAfterwards(StoreProxy):
    """It stores one message and does not say so; then it cannot be reached."""

    calls = 0

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        self.calls += 1
        if self.calls > 1:
            raise Unavailable("gone")
        self.inner.send(messages)
        raise OutcomeUnknown("done, perhaps")


def test_two_workers_share_a_store(engine: Engine) -> None:
    both = [engine.work([quick], [echo], activity_slots=2, max_in_flight=8) for _ in range(2)]
    assert len({worker.runner.worker.id for worker in both}) == 2
    handles = engine.client.start_many([(quick, n) for n in range(200)])
    assert [h.result(timeout=20) for h in handles] == list(range(200))
    for handle in handles:
        assert kinds(handle) == [
            "WorkflowStarted", "ActivityScheduled", "ActivityCompleted", "WorkflowCompleted",
        ]  # fmt: skip


def test_many_threads_use_one_client(engine: Engine) -> None:
    engine.work([waits], [echo])

    def one(number: int) -> Any:
        handle = engine.client.start(waits.options(id=f"t{number}"), number)
        handle.signal("go")
        return handle.result(timeout=20)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(64))) == list(range(64))


def test_a_graceful_stop_loses_nothing(engine: Engine) -> None:
    began, go = threading.Semaphore(0), threading.Event()

    @activity
    def slow(value: int) -> int:
        began.release()
        if value % 2:
            go.wait(20)
        return value

    @workflow
    def flow(value: int) -> Workflow[int]:
        return (yield from slow.call(value))

    worker = engine.work([flow], [slow])
    handles = [engine.start(flow, n) for n in range(6)]
    for _ in handles:
        assert began.acquire(timeout=20)
    before = time.monotonic()
    worker.stop(0.1)
    assert time.monotonic() - before < 5
    assert engine.client.workers() == []
    assert all(h.describe()["owner"] == "" for h in handles)
    go.set()
    engine.work([flow], [slow])
    assert [h.result(timeout=20) for h in handles] == list(range(6))
    assert all(task["crashes"] == 0 for h in handles for task in h.describe()["tasks"])
    assert all(kinds(h).count("ActivityCompleted") == 1 for h in handles)


def test_within_grace_running_activities_finish(engine: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    @activity
    def slow() -> str:
        began.set()
        go.wait(20)
        return "finished"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from slow.call())

    worker = engine.work([flow], [slow])
    handle = engine.start(flow)
    assert began.wait(20)
    worker.request_stop(20)
    go.set()
    worker.stop(20)
    assert handle.result(timeout=0) == "finished"


def test_an_orchestrator_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    url = file_url(tmp_path)
    with Orchestrator(url, workflows=[waits], activities=[echo]) as here:
        here.client.start(waits.options(id="o"), 9)
    with Orchestrator(url, workflows=[waits], activities=[echo]) as here:
        here.client.signal("o", "go")
        assert here.client.get("o").result(timeout=20) == 9


def test_fork_after_use(tmp_path: Path) -> None:
    client = Client(file_url(tmp_path))
    client.start(waits.options(id="parent"))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            client.start(waits.options(id="child"))
            client.signal("parent", "go", "from the child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.count() == 2
    with Orchestrator(client.store, workflows=[waits], activities=[echo]):
        assert client.get("parent").result(timeout=20) is None
    client.close()


def test_a_parked_instance_is_rows_only(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(3600)

    worker = engine.work([flow])
    handles = [engine.start(flow) for _ in range(20)]
    until(lambda: all(kinds(h)[-1:] == ["TimerStarted"] for h in handles))
    until(lambda: worker.stats()["instances_held"] == 0)
    assert worker.stats()["instances_cached"] == (20 if engine.cache else 0)
    assert all(h.describe()["owner"] == "" for h in handles)
