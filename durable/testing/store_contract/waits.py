"""Promise 5 across threads and processes: a wait returns when something has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from durable.store import Store
from durable.testing.store_contract.base import (
    COMPLETED,
    HOUR,
    PATIENCE,
    REFUSED,
    SECOND,
    Base,
    FakeWorker,
    a_child,
    a_completion,
    a_finished,
    a_message,
    a_next,
    a_task,
    an_instance,
    pause,
    rerun,
    resume,
    schedule,
    send,
    start,
    terminate,
)

Prepare = Callable[[Store], Callable[[], object]]


@contextmanager
def waiting(store: Store) -> Iterator[None]:
    """A thread waits; it must have returned soon after the block, well before its timeout."""
    ready = threading.Event()
    mark = store.mark()

    def wait() -> None:
        ready.set()
        store.wait(mark, 10 * PATIENCE)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def _send(store: Store) -> Callable[[], object]:
    start(store)
    return lambda: send(store)


def _create(store: Store) -> Callable[[], object]:
    return lambda: store.create([an_instance(store)], "raise")


def _terminate(store: Store) -> Callable[[], object]:
    start(store)
    return lambda: terminate(store)


def _owning(store: Store, lease: int = HOUR) -> FakeWorker:
    start(store)
    worker = FakeWorker(store, "w-1", lease)
    worker.advance(worker.take())
    return worker


def _unregister(store: Store) -> Callable[[], object]:
    _owning(store)
    return lambda: store.unregister("w-1")


def _take_over(store: Store) -> Callable[[], object]:
    _owning(store, -SECOND)
    return lambda: store.take_over(None)


def _complete(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    schedule(worker)
    task = worker.take_task()
    return lambda: worker.complete(task)


def _register(store: Store) -> Callable[[], object]:
    start(store, workflow="lost")
    watcher = FakeWorker(store)
    store.block_unknown(watcher.info, -HOUR)
    return lambda: FakeWorker(store, "w-2", build="build-2", workflows=("lost",))


def _join(store: Store) -> Callable[[], object]:
    return lambda: FakeWorker(store, "newcomer")


def _end(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    return lambda: worker.finish(claimed, COMPLETED)


def _release(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    return lambda: worker.advance(claimed, release=True, wake_at=store.now() - SECOND)


def _schedule(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    return lambda: worker.advance(claimed, tasks=[a_task(store)])


def _step_sends(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    start(store, "target")
    return lambda: worker.advance(claimed, sends=[a_message("target")])


def _step_starts(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    return lambda: worker.advance(claimed, starts=[a_child(store, claimed)])


def _next_run(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    claimed = worker.take()
    return lambda: worker.advance(claimed, next=a_next(store))


def _settle(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    schedule(worker)
    done = a_completion(worker.take_task())
    return lambda: store.settle(done)


def _pause(store: Store) -> Callable[[], object]:
    start(store)
    return lambda: pause(store)


def _resume(store: Store) -> Callable[[], object]:
    start(store)
    pause(store)
    return lambda: resume(store)


def _unblock(store: Store) -> Callable[[], object]:
    start(store)
    worker = FakeWorker(store)
    worker.advance(worker.take(), end=REFUSED, release=True)
    return lambda: store.unblock("i-1", "u-1")


def _rerun(store: Store) -> Callable[[], object]:
    a_finished(store, "i-1")
    return lambda: rerun(store)


CHANGES: list[Prepare] = [
    _send,
    _create,
    _terminate,
    _unregister,
    _take_over,
    _complete,
    _register,
    _join,
    _end,
    _release,
    _schedule,
    _step_sends,
    _step_starts,
    _next_run,
    _settle,
    _pause,
    _resume,
    _unblock,
    _rerun,
]


class Waits(Base):
    @pytest.mark.parametrize("prepare", CHANGES, ids=lambda prepare: prepare.__name__.strip("_"))
    @pytest.mark.parametrize("where", ["this process", "another process"])
    def test_a_wait_ends_with_a_change(
        self, store: Store, other: Store, prepare: Prepare, where: str
    ) -> None:
        change = prepare(store)
        with waiting(store if where == "this process" else other):
            change()

    def test_a_wait_ends_with_a_change_before_it(self, store: Store, other: Store) -> None:
        start(store)
        marks = store.mark(), other.mark()
        send(store)
        began = time.monotonic()
        store.wait(marks[0], 10 * PATIENCE)
        other.wait(marks[1], 10 * PATIENCE)
        assert time.monotonic() - began < PATIENCE

    def test_a_wait_ends_with_wake(self, store: Store) -> None:
        with waiting(store), waiting(store):
            store.wake()

    def test_a_wait_ends_with_a_wake_before_it(self, store: Store) -> None:
        mark = store.mark()
        store.wake()
        began = time.monotonic()
        store.wait(mark, 10 * PATIENCE)
        assert time.monotonic() - began < PATIENCE

    def test_a_wait_without_a_timeout_can_be_woken(self, store: Store) -> None:
        mark = store.mark()
        thread = threading.Thread(target=store.wait, args=(mark, None), daemon=True)
        thread.start()
        store.wake()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    @pytest.mark.parametrize("timeout", [0.0, 0.01])
    def test_a_wait_ends_with_its_timeout(self, store: Store, timeout: float) -> None:
        began = time.monotonic()
        store.wait(store.mark(), timeout)
        assert time.monotonic() - began < PATIENCE

    def test_marks_are_of_use_again_and_again(self, store: Store, other: Store) -> None:
        start(store)
        for n in range(5):
            with waiting(other):
                send(store, f"m-{n}")
