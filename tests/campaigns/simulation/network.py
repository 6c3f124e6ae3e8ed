"""The memory store as a process sees it: behind a network with faults.

Every call passes the baton on, so any other process may come before it.  What is applied is
shown to the monitor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import compress
from typing import Any

from durable.errors import OutcomeUnknown
from durable.store import Store, Unavailable, Verdict
from durable.stores.memory import MemoryStore
from simulation.baton import SECOND, Baton, Crash, Process, Thread, ticks
from simulation.faults import WRITES, Faults

READS = (
    "instance",
    "instances",
    "history",
    "inbox",
    "unread",
    "tasks",
    "workers",
    "stats",
    "owned",
)

Apply = Callable[[str, tuple[Any, ...], Process], Any]


class Network:
    """Between all processes and the store; ``apply`` is called for what reaches the store.

    note: called with a line for each call, for the trace.
    """

    def __init__(
        self,
        baton: Baton,
        inner: MemoryStore,
        faults: Faults,
        apply: Apply,
        note: Callable[[str], None],
    ) -> None:
        self.baton = baton
        self.inner = inner
        self.faults = faults
        self.note = note
        self.calls = 0
        self.busy_until = 0  # by then all has arrived that was sent, and nobody is stopped
        self._apply = apply
        self._waiting: dict[Thread, Process] = {}

    def store(self, process: Process) -> Store:
        """The store, for one process."""
        made: Any = _Remote
        remote: Store = made(self, process)
        return remote

    def call(self, process: Process, verb: str, args: tuple[Any, ...]) -> Any:
        """One call, with whatever befalls it."""
        if process.dead:
            raise Crash
        baton, faults = self.baton, self.faults
        fault = faults.at_call(verb)
        self.calls += 1
        self.note(f"{baton.now} {process.name} {verb} {fault}")
        if fault == "zombie":
            process.stopped_until = baton.now + faults.random.randrange(14 * SECOND)
            self.busy_until = max(self.busy_until, process.stopped_until)
        latency = faults.latency(fault)
        self.busy_until = max(self.busy_until, baton.now + latency)
        baton.pause(latency)
        if fault == "crash before":
            self._die(process)
        if fault == "unavailable":
            raise Unavailable("the store cannot be reached")
        if fault == "unknown, lost":
            raise OutcomeUnknown("it never arrived")
        if fault in ("unknown, late", "twice"):
            later = faults.random.randrange(8 * SECOND)
            self.busy_until = max(self.busy_until, baton.now + later)
            baton.after(later, partial(self._late, verb, args, process))
            if fault == "unknown, late":
                raise OutcomeUnknown("it is under way")
        applied = self._in_part if fault == "busy" else self.apply
        answer = applied(verb, args, process)
        if fault == "crash after":
            self._die(process)
        if fault == "unknown, applied":
            raise OutcomeUnknown("the answer was lost")
        if faults.random.random() < 0.3:  # others may come before the answer
            baton.pause(faults.latency(""))
        return answer

    def _in_part(self, verb: str, args: tuple[Any, ...], process: Process) -> list[Verdict]:
        """Some of it is answered with BUSY, and left out."""
        worker, *parts = args
        chance = self.faults.random.random
        free = [[chance() < 0.5 for _ in part] for part in parts]
        rest = [list(compress(part, flags)) for part, flags in zip(parts, free, strict=True)]
        verdicts = iter(self.apply(verb, (worker, *rest), process))
        return [next(verdicts) if flag else Verdict.BUSY for flags in free for flag in flags]

    def _die(self, process: Process) -> None:
        self.baton.kill(process)
        raise Crash

    def _late(self, verb: str, args: tuple[Any, ...], process: Process) -> None:
        """What was under way arrives; whoever has sent it does not learn of the answer."""
        self.note(f"{self.baton.now} {process.name} {verb} arrives")
        try:
            self.apply(verb, args, process)
        except Exception as error:
            self.note(f"refused: {error}")

    def apply(self, verb: str, args: tuple[Any, ...], process: Process) -> Any:
        """What reaches the store."""
        before = self.inner.mark()
        answer = self._apply(verb, args, process)
        if self.inner.mark() != before:
            self._announce()
        return answer

    # -- waiting ------------------------------------------------------------------------

    def _announce(self) -> None:
        for thread in self._waiting:
            if not self.faults.happens("no hint", 0.2):
                self.baton.wake(thread, self.faults.latency(""))

    def wait(self, mark: int, timeout: float | None) -> None:
        me = self.baton.current
        assert me is not None
        if self.inner.mark() != mark:
            self.baton.pause(self.faults.latency(""))
            return
        self._waiting[me] = me.process
        try:
            self.baton.pause(None if timeout is None else ticks(timeout))
        finally:
            del self._waiting[me]

    def wake(self, process: Process) -> None:
        """Only what waits in this process."""
        for thread, owner in self._waiting.items():
            if owner is process:
                self.baton.wake(thread)


class _Remote(Store):
    """The store of one process: verbs go through the network; what stores keep in the memory
    of each process (the clock, marks, the secret) does not."""

    def __init__(self, network: Network, process: Process) -> None:
        self.url = "memory://"
        self._network = network
        self._process = process
        inner = network.inner
        self.now = inner.now  # type: ignore[method-assign]
        self.mark = inner.mark  # type: ignore[method-assign]
        self.secret = inner.secret  # type: ignore[method-assign]

    def wait(self, mark: int, timeout: float | None) -> None:
        self._network.wait(mark, timeout)

    def wake(self) -> None:
        self._network.wake(self._process)


def _verb(verb: str) -> Any:
    def call(self: _Remote, *args: Any) -> Any:
        return self._network.call(self._process, verb, args)

    return call


for _name in (*WRITES, *READS):
    setattr(_Remote, _name, _verb(_name))
_Remote.__abstractmethods__ = frozenset()
