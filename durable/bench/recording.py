"""A store that remembers what was written to it, and the ceiling that this gives.

The ceiling is what the store could do if the engine cost nothing: a bare loop makes the
same calls, with the same arguments and in the same order, against a fresh store.
"""

from __future__ import annotations

import threading
import time
from abc import ABCMeta
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from durable.store import Claimed, ClaimRequest, Created, NewInstance, Step, Store, Verdict

VERBS = tuple(sorted(Store.__abstractmethods__))
RECORDED = ("register", "claim", "adopt", "complete")
TIMED = frozenset({"create", "claim", "adopt", "complete", "commit"})


@dataclass(slots=True)
class Call:
    """One call: its verb, its arguments, what it gave, and when (by `time.perf_counter`)."""

    verb: str
    args: tuple[Any, ...]
    result: Any
    ended_at: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Seconds that the bare loop took; ``problem`` says why they mean nothing, or is empty."""

    commits: float
    all_writes: float
    problem: str


class RecordingStore:
    """Delegates every verb to a store and keeps the calls that write.

    It has each verb as an attribute of its own, so that what is not recorded costs nothing.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.url = inner.url
        self.calls: list[Call] = []
        self.finished = 0
        self._wanted = 0
        self._reached = threading.Event()
        for verb in VERBS:
            setattr(self, verb, getattr(inner, verb))
        for verb in RECORDED:
            setattr(self, verb, self._recorded(verb, getattr(inner, verb)))
        self._commit: Callable[..., list[Verdict]] = self._recorded("commit", inner.commit)
        self.commit = self._counted
        self._create: Callable[..., list[Created]] = inner.create
        self.create = self._created

    @property
    def store(self) -> Store:
        """This, as what it stands for."""
        return cast(Store, self)

    def _recorded(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any) -> Any:
            result = call(*args)
            self.calls.append(Call(verb, args, result, time.perf_counter()))
            return result

        return recorded

    def _created(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        """Recorded before it is done: a claim that sees these rows must come after it."""
        call = Call("create", (list(new), if_exists), None, 0.0)
        self.calls.append(call)
        call.result = self._create(new, if_exists)
        call.ended_at = time.perf_counter()
        return cast(list[Created], call.result)

    def _counted(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        verdicts = self._commit(worker, steps)
        for step, verdict in zip(steps, verdicts, strict=True):
            if verdict is Verdict.COMMITTED and step.end is not None:
                self.finished += step.end.status.finished
        if self.finished >= self._wanted:
            self._reached.set()
        return verdicts

    def wait_finished(self, count: int, timeout: float | None = None) -> bool:
        """Wait until so many instances have ended since this was made. Asks no store."""
        self._wanted = count
        self._reached.clear()
        return self.finished >= count or self._reached.wait(timeout)

    def commits(self) -> list[Call]:
        """The commits that stored something."""
        return [call for call in self.calls if call.verb == "commit" and call.args[1]]


ABCMeta.register(Store, RecordingStore)


def ceiling(calls: Sequence[Call], store: Store) -> Ceiling:
    """Make the calls again, on a fresh store, and time them."""
    commits = total = 0.0
    for call in calls:
        args = call.args
        if call.verb == "claim":
            args = (_as_many(args[0], call.result),)
        began = time.perf_counter()
        result = getattr(store, call.verb)(*args)
        took = time.perf_counter() - began
        if call.verb in TIMED:
            total += took
        if call.verb == "commit":
            commits += took
        problem = _differs(call, result)
        if problem:
            return Ceiling(commits, total, problem)
    return Ceiling(commits, total, "")


def _as_many(request: ClaimRequest, claimed: Claimed) -> ClaimRequest:
    """A request that takes as many as the recorded one got."""
    return replace(request, instances=len(claimed.instances), tasks=len(claimed.tasks))


def _differs(call: Call, result: Any) -> str:
    """How the second run went another way than the first one, or nothing."""
    if call.verb == "commit" and result != call.result:
        lost = sum(1 for verdict in result if verdict is not Verdict.COMMITTED)
        return f"{lost} of {len(result)} steps of a commit were refused"
    if call.verb == "claim" and _keys(result) != _keys(call.result):
        return "a claim gave other rows"
    return ""


def _keys(claimed: Claimed) -> tuple[set[tuple[bytes, int]], set[tuple[bytes, int, int, int]]]:
    return (
        {(item.instance.uid, item.instance.epoch) for item in claimed.instances},
        {(task.uid, task.run, task.command, task.epoch) for task in claimed.tasks},
    )
