"""Instances that are taken out of one store and into another, with their histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from engine_kit import TIMEOUT, Engine, StoreProxy, kinds, proxy, until

from durable import (
    Client,
    Codec,
    Handle,
    InstanceAlreadyExists,
    Orchestrator,
    Status,
    Worker,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    info,
    set_var,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import DurableError, OutcomeUnknown, StoreError, WorkflowError
from durable.exports import Export, lines_of, read_exports
from durable.store import Verdict
from durable.stores import open_store
from durable.testing import replay


@activity
def add(number: int) -> int:
    return number + 1


@activity
def key() -> str:
    return current_activity().idempotency_key


@workflow
def child(number: int) -> Workflow[int]:
    yield wait_signal("go")
    return number


@workflow
def parent(number: int) -> Workflow[int]:
    """Counts to two in runs of its own, and then waits for a child."""
    set_var("number", number)
    assert info().run == number + 1 or number == 2
    number = yield from add.call(number)
    if number < 3:
        return continue_as_new(number)
    task = spawn(child.call(40))
    return number + (yield from task)


@workflow
def once(number: int) -> Workflow[int]:
    return (yield from add.call(number))


@workflow
def broken() -> Workflow[None]:
    yield from add.call(1)
    raise ValueError("no")


@workflow
def keyed() -> Workflow[str]:
    return (yield from key.call())


FLOWS = (parent, child, once, broken, keyed)


@pytest.fixture
def origin() -> Iterator[Client]:
    """The store from which they are taken, with a worker."""
    with Orchestrator("memory://", workflows=FLOWS, activities=[add]) as here:
        yield here.client


def carried(*exports: Export) -> list[Export]:
    """What came through a file."""
    lines = [f"{line}\n".encode() for export in exports for line in lines_of(export, Codec())]
    return list(read_exports(lines, "f.jsonl"))


def waiting_family(client: Client) -> list[Export]:
    """A parent that waits for its child, and the child."""
    handle = client.start(parent.options(id="p"), 0)
    while not client.list(parent="p").rows:
        client.store.wait(client.store.mark(), 0.01)
    (one,) = handle.children()
    while "SignalReceived" not in kinds(one):
        one.signal("other")
        client.store.wait(client.store.mark(), 0.01)
    return carried(handle.export(), one.export())


def test_what_has_ended_is_as_it_was(engine: Engine, origin: Client) -> None:
    options = once.options(id="o", tags=["spring"], memo={"by": "ann"}, queue="parcels")
    handle = origin.start(options, 1)
    worker = Worker(origin.store, workflows=FLOWS, activities=[add], queues=["parcels"], burst=True)
    worker.run()
    assert handle.result(TIMEOUT) == 2
    (taken,) = engine.client.take_in(carried(handle.export()))
    assert taken.result(timeout=0) == 2
    assert taken.history() == handle.history()
    moments = ("created_at", "started_at", "finished_at")
    before, after = handle.describe(), taken.describe()
    assert {**before, **dict.fromkeys(moments)} == {**after, **dict.fromkeys(moments)}
    assert [row.id for row in engine.client.list(tag="spring").rows] == ["o"]


def test_a_failure_is_as_it_was_and_can_be_retried(engine: Engine, origin: Client) -> None:
    handle = origin.start(broken.options(id="b"))
    with pytest.raises(WorkflowError):
        handle.result(TIMEOUT)
    (taken,) = engine.client.take_in(carried(handle.export()))
    assert taken.status() is Status.FAILED
    with pytest.raises(WorkflowError, match="ValueError: no"):
        taken.result(timeout=0)
    taken.retry()
    engine.work(FLOWS, [add])
    with pytest.raises(WorkflowError, match="ValueError: no"):
        taken.result(TIMEOUT)
    assert taken.row().run == 2


def test_what_goes_on_is_paused_and_no_worker_takes_it(engine: Engine, origin: Client) -> None:
    exports = waiting_family(origin)
    engine.work(FLOWS, [add])
    taken = engine.client.take_in(exports)
    engine.run(once, 1)  # the worker has looked since
    assert [handle.status() for handle in taken] == [Status.PAUSED] * 2
    assert [handle.row().reason for handle in taken] == ["imported"] * 2
    assert taken[0].vars() == {"number": 2}
    assert [child.id for child in taken[0].children()] == ["p/3.1"]
    for run in (1, 2, 3):
        assert taken[0].history(run) == origin.get("p").history(run)


def test_it_goes_on_when_it_is_resumed(engine: Engine, origin: Client) -> None:
    taken = engine.client.take_in(waiting_family(origin))
    engine.work(FLOWS, [add])
    for handle in taken:
        handle.resume()
    taken[1].signal("go")
    assert taken[0].result(TIMEOUT) == 43
    assert kinds(taken[0]).count("ActivityScheduled") == 1  # of this run: nothing ran again
    assert replay(FLOWS, taken[0])[-1].result == 43


def test_a_child_that_has_ended_is_heard(engine: Engine, origin: Client) -> None:
    first, second = waiting_family(origin)
    origin.signal("p/3.1", "go")
    origin.get("p").result(TIMEOUT)
    (ended,) = carried(origin.get("p/3.1").export())
    assert ended.instance.uid == second.instance.uid
    taken = engine.client.take_in([first, ended])
    taken[0].resume()
    engine.work(FLOWS, [add])
    assert taken[0].result(TIMEOUT) == 43


def test_a_child_without_its_parent_and_a_parent_without_its_child(
    engine: Engine, origin: Client
) -> None:
    first, second = waiting_family(origin)
    (orphan,) = engine.client.take_in([second])
    orphan.resume()
    orphan.signal("go")
    engine.work(FLOWS, [add])
    assert orphan.result(TIMEOUT) == 40
    orphan.delete()
    (alone,) = engine.client.take_in([first])
    alone.resume()
    engine.becomes(alone, Status.RUNNING)
    until(alone.children, "the child is started anew")
    (anew,) = alone.children()
    anew.signal("go")
    assert alone.result(TIMEOUT) == 43


def test_what_was_under_way_is_asked_for_again(engine: Engine, origin: Client) -> None:
    """With the idempotency key that it had."""
    handle = origin.start(keyed.options(id="k"))  # no worker there knows its activity
    while "ActivityScheduled" not in kinds(handle):
        origin.store.wait(origin.store.mark(), 0.01)
    (taken,) = engine.client.take_in(carried(handle.export()))
    taken.resume()
    engine.work(FLOWS, [key])
    here: str = taken.result(TIMEOUT)
    Worker(origin.store, workflows=FLOWS, activities=[key], burst=True).run()
    assert handle.result(TIMEOUT) == here


def test_signals_that_wait_are_kept(engine: Engine, origin: Client) -> None:
    handle = origin.start(child.options(id="c", delay=3600), 7)
    handle.signal("go")
    (export,) = carried(handle.export())
    assert export.runs == ((),)
    (taken,) = engine.client.take_in([export])
    taken.resume()
    engine.work(FLOWS)
    assert taken.result(TIMEOUT) == 7


def test_an_instance_that_is_there_stays_as_it_is(engine: Engine, origin: Client) -> None:
    origin.start(once.options(id="a"), 1).result(TIMEOUT)
    origin.start(once.options(id="b"), 1).result(TIMEOUT)
    there: Handle[int] = engine.client.start(once.options(id="b"), 5)
    exports = [origin.get(id).export() for id in "ab"]
    with pytest.raises(InstanceAlreadyExists, match="'b'"):
        engine.client.take_in(exports)
    assert [row.id for row in engine.client.list().rows] == ["b"]
    assert there.status() is Status.PENDING


def test_a_fork_of_what_was_taken_in(engine: Engine, origin: Client) -> None:
    handle = origin.start(once.options(id="o"), 1)
    handle.result(TIMEOUT)
    (taken,) = engine.client.take_in(carried(handle.export()))
    fork = taken.fork(at=1)
    engine.work(FLOWS, [add])
    assert fork.result(TIMEOUT) == 2


def test_an_export_while_it_goes_on(engine: Engine) -> None:
    """Each is as it was at some moment, between two steps."""
    engine.work([busy], [add])
    handle = engine.start(busy, 20)
    lengths = set()
    while not handle.status().finished:
        export = handle.export()
        lengths.add(sum(map(len, export.runs)))
        replay(busy, carried(export))
    assert handle.result(TIMEOUT) == 20
    assert len(lengths) > 1


@workflow
def busy(number: int) -> Workflow[int]:
    done = 0
    while done < number:
        done = yield from add.call(done)
    return done


@pytest.mark.parametrize("verb", ["create", "pause", "commit", "send"])
def test_answers_that_are_lost(verb: str, origin: Client) -> None:
    """What was stored by a call whose outcome is unknown is not stored twice."""
    exports = waiting_family(origin)
    store = Forgetful(open_store("memory://"))  # type: ignore[abstract]
    store.forgets = verb
    client = Client(store)
    taken = client.take_in(exports)
    assert store.forgotten > 0
    assert [len(h.history()) for h in taken] == [len(e.runs[-1]) for e in exports]
    with Orchestrator(store.inner, workflows=FLOWS, activities=[add]):
        for handle in taken:
            handle.resume()
        taken[1].signal("go")
        assert taken[0].result(TIMEOUT) == 43


def test_a_row_that_is_locked_is_tried_again(origin: Client) -> None:
    origin.start(once.options(id="o"), 1).result(TIMEOUT)
    store = Locked(open_store("memory://"))  # type: ignore[abstract]  # see proxy
    (taken,) = Client(store).take_in([origin.get("o").export()])
    assert (taken.result(timeout=0), store.tries) == (2, 2)


@proxy
class Locked(StoreProxy):
    """The first commit meets a row that somebody else has locked."""

    tries = 0

    def commit(self, worker: str, steps: Any) -> Any:
        self.tries += 1
        return [Verdict.BUSY] if self.tries == 1 else self.inner.commit(worker, steps)


@proxy
class Forgetful(StoreProxy):
    """Every call of a verb is answered only when it is repeated."""

    forgets = ""
    forgotten = 0
    repeated = True

    def _lose(self, verb: str, answer: Any) -> Any:
        if verb != self.forgets:
            return answer
        self.repeated = not self.repeated
        if self.repeated:
            return answer
        self.forgotten += 1
        raise OutcomeUnknown("the connection was lost")

    def create(self, *args: Any) -> Any:
        return self._lose("create", self.inner.create(*args))

    def pause(self, *args: Any) -> Any:
        return self._lose("pause", self.inner.pause(*args))

    def commit(self, *args: Any) -> Any:
        return self._lose("commit", self.inner.commit(*args))

    def send(self, *args: Any) -> Any:
        return self._lose("send", self.inner.send(*args))


def ended(origin: Client, *ids: str) -> list[Export]:
    for id in ids:
        origin.start(once.options(id=id), 1).result(TIMEOUT)
    return [origin.get(id).export() for id in ids]


def with_(export: Export, **values: Any) -> Export:
    return replace(export, instance=replace(export.instance, **values))


BAD: dict[str, Callable[[Export], Export]] = {
    "a workflow that cannot be": lambda export: with_(export, workflow=""),
    "an id that cannot be": lambda export: with_(export, id="x" * 256),
    "no runs": lambda export: replace(export, runs=()),
    "a start that cannot be read": lambda export: replace(export, runs=((b"?",),) * 2),
    "the same id": lambda export: with_(export, id="a", uid=bytes(16)),
}


@pytest.mark.parametrize("bad", BAD)
def test_all_are_looked_at_before_the_first_is_created(
    engine: Engine, origin: Client, bad: str
) -> None:
    first, second = ended(origin, "a", "b")
    with pytest.raises(DurableError) as raised:
        engine.client.take_in([first, BAD[bad](second)])
    assert engine.client.list().rows == []
    assert not hasattr(raised.value, "__notes__")


def test_the_same_instance_under_two_ids(engine: Engine, origin: Client) -> None:
    (one,) = ended(origin, "a")
    other = with_(one, id="b")
    with pytest.raises(InstanceAlreadyExists, match="'a' and 'b' are the same one, twice"):
        engine.client.take_in([one, other])
    assert engine.client.list().rows == []
    engine.client.take_in([one])
    with pytest.raises(InstanceAlreadyExists, match="'b' exists under another id"):
        engine.client.take_in([other])
    assert [row.id for row in engine.client.list().rows] == ["a"]


def test_what_was_taken_in_before_the_store_failed(origin: Client) -> None:
    store = Full(open_store("memory://"))  # type: ignore[abstract]  # see proxy
    with pytest.raises(StoreError, match="the disk is full") as raised:
        Client(store).take_in(ended(origin, "a", "b", "c"))
    assert raised.value.__notes__ == [
        "taken in before: a, b; of c a part may be there: terminate and delete it"
    ]


@proxy
class Full(StoreProxy):
    """It has room for two."""

    def create(self, new: Any, if_exists: str) -> Any:
        if any(one.id == "c" for one in new):
            raise StoreError("the disk is full")
        return self.inner.create(new, if_exists)
