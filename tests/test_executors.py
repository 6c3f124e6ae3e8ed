"""Executors: what is restored around an attempt, and what a child process can find."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.definitions import activity
from durable.errors import PayloadError, UsageError
from durable.executors import ProcessExecutor, ThreadExecutor, threads
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner import Attempt, Outcome, run_attempt

CODEC = Codec()


def attempt(
    name: str, options: ActivityOptions | None = None, context: bytes | None = None
) -> Attempt:
    return Attempt(
        (b"u" * 16, 1, 7), 1, "i-1", name, CODEC.encode([]), None, options or ActivityOptions(),
        lambda: b"s" * 32, context=context,
    )  # fmt: skip


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


@activity
def tenant() -> str:
    return TENANT.get()


@activity
async def later_tenant() -> str:
    await asyncio.sleep(0)
    return TENANT.get()


def carried(value: str) -> bytes | None:
    token = TENANT.set(value)
    try:
        return Propagators([TENANT]).capture(CODEC)
    finally:
        TENANT.reset(token)


def through(executor: str, *names: str, propagators: Propagators | None) -> list[Any]:
    """The results of these activities, run by an executor with a context."""
    done: SimpleQueue[Outcome] = SimpleQueue()
    made: Any = {"thread": ThreadExecutor, "process": ProcessExecutor}[executor](
        1, Registry(activities=[tenant, later_tenant]), CODEC, done.put, propagators
    )
    values = []
    try:
        for name in names:
            running = attempt(name, context=carried("acme"))
            made.submit(running)
            made.grow()
            outcome = done.get(timeout=30)
            assert outcome.failure is None, outcome.failure
            values.append(CODEC.decode(outcome.value or b""))
    finally:
        made.stop()
    return values


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_context_is_restored_around_an_activity(executor: str) -> None:
    names = ("tenant", "later_tenant")
    assert through(executor, *names, propagators=Propagators([TENANT])) == ["acme", "acme"]
    assert through(executor, "tenant", propagators=None) == ["nobody"]
    assert TENANT.get() == "nobody"


def test_a_damaged_context_fails_the_attempt() -> None:
    outcome = run_attempt(attempt("tenant", context=b"\xff"), tenant, CODEC, Propagators([TENANT]))
    assert outcome.types[0] == f"{PayloadError.__module__}.{PayloadError.__name__}"


class Desk:
    @activity
    def act(self) -> None: ...


@activity(name="renamed")
def under_its_name() -> None: ...


other_name = activity(name="wrapped")(lambda: None)


def test_what_a_child_process_cannot_find_is_refused() -> None:
    def processes(item: Any, propagators: Propagators | None = None) -> ProcessExecutor:
        registry = Registry(activities=[item])
        return ProcessExecutor(1, registry, CODEC, lambda outcome: None, propagators)

    @activity
    def local() -> None: ...

    with pytest.raises(UsageError, match=r'on an object of this process.*executor="thread"'):
        processes(Desk())
    with pytest.raises(UsageError, match=r'local .* stands in no module.*executor="thread"'):
        processes(local)
    hidden: ContextVar[int] = ContextVar("hidden")
    with pytest.raises(UsageError, match=r"propagator .* stands in no module"):
        processes(tenant, Propagators([hidden]))
    processes(under_its_name)
    processes(other_name)


def test_a_thread_that_ended_as_its_time_was_up_frees_its_slot() -> None:
    done: SimpleQueue[Outcome] = SimpleQueue()
    executor = ThreadExecutor(1, Registry(activities=[tenant]), CODEC, done.put)
    running = attempt("tenant", ActivityOptions(timeout=1))
    executor.submit(running)
    done.get(timeout=10)
    executor.overrun(running)
    assert executor.occupied == 0
    executor.stop()


@pytest.mark.parametrize("executor", [ThreadExecutor, ProcessExecutor])
def test_a_thread_that_cannot_start_is_tried_again(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: SimpleQueue[Outcome] = SimpleQueue()
    made = executor(1, Registry(activities=[tenant]), CODEC, done.put)
    refused: list[str] = []
    start = threading.Thread.start

    def start_later(thread: threading.Thread) -> None:
        if thread.name.startswith("durable-") and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    clock = count()
    monkeypatch.setattr(threads, "monotonic", lambda: next(clock))
    made.submit(attempt("tenant"))
    outcome = None
    for _ in range(1000):
        made.grow()
        with suppress(Empty):
            outcome = done.get(timeout=0.03)
            break
    assert outcome is not None
    assert CODEC.decode(outcome.value or b"") == "nobody"
    assert len(refused) == 2
    made.stop()


def test_a_child_that_is_killed_as_its_attempt_ends_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: SimpleQueue[Outcome] = SimpleQueue()
    made = ProcessExecutor(1, Registry(activities=[tenant]), CODEC, done.put)
    run = made._run

    def late(pipe: Any, running: Attempt) -> Outcome:
        outcome = run(pipe, running)
        if running.limited:
            made.overrun(running)  # its time was up while the outcome came in
        return outcome

    monkeypatch.setattr(made, "_run", late)
    made.submit(attempt("tenant", ActivityOptions(timeout=60)))
    made.submit(attempt("tenant"))
    outcome = done.get(timeout=30)
    assert not outcome.attempt.limited
    assert not outcome.crashed
    made.stop()


def test_a_codec_that_cannot_be_sent_is_refused() -> None:
    codec = Codec()
    codec.lock = threading.Lock()  # type: ignore[attr-defined]  # as a key service may have
    with pytest.raises(UsageError, match="cannot be sent to child processes"):
        ProcessExecutor(1, Registry(), codec, lambda outcome: None)


ORPHAN = """
from multiprocessing import Pipe
from durable.executors.child import Line
worker, child = Pipe()
worker.close()
Line(child).{call}
print("it goes on")
"""


@pytest.mark.parametrize("call", ["begin(None)", "receive()", "ask(None, 1)"])
def test_a_child_whose_worker_has_gone_ends_without_a_word(call: str) -> None:
    program = [sys.executable, "-c", ORPHAN.format(call=call)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
