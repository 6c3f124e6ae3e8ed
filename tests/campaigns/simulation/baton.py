"""The baton: simulated threads and processes, of which one thread runs at a time.

The thread that has the baton runs until it waits; then it gives the baton to whoever is next
in virtual time, without a scheduler in between, because handing it over is the expensive
part.  Nothing here knows what is simulated.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import ceil

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
"""Virtual moments are microseconds; the first one is some day."""

BUDGET = 50_000
"""How often the baton may be asked for in one run: a hundred times as often as in most."""

Action = Callable[[], None]


def ticks(seconds: float) -> int:
    """Microseconds, at least one: who waits must not stop the clock."""
    return max(1, ceil(seconds * SECOND))


class Crash(BaseException):
    """The process of this thread is dead: whatever it does next does not happen."""


class Process:
    """Threads that live and die together, with a monotonic clock of their own.

    offset: seconds; rate: how fast the clock goes. at_death: called when the last of its
    threads is gone.
    """

    def __init__(self, name: str, offset: float = 0.0, rate: float = 1.0) -> None:
        self.name = name
        self.offset = offset
        self.rate = rate
        self.dead = False
        self.stopped_until = 0
        self.threads: list[Thread] = []
        self.at_death: list[Action] = []


class Thread:
    """One thread of a process; ``run`` is called with the baton."""

    def __init__(self, baton: Baton, process: Process, run: Action) -> None:
        self.baton = baton
        self.process = process
        self.lock = _thread.allocate_lock()
        self.lock.acquire()
        self.ticket = 0
        self.ended = False
        self.joiners: list[Thread] = []
        self._target = run

    def start(self) -> None:
        """It begins when the baton comes to it."""
        self.process.threads.append(self)
        self.baton.started.append(self)
        self.baton.wake(self)
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        self.lock.acquire()
        baton = self.baton
        try:
            if not self.process.dead:
                self._target()
        except Crash:
            pass
        except BaseException as error:
            baton.failed(error)
        self.ended = True
        self._bury()
        for joiner in self.joiners:
            baton.wake(joiner)
        baton.hand_on(None)

    def _bury(self) -> None:
        process = self.process
        process.threads.remove(self)
        if not process.threads:
            for action in process.at_death:
                try:
                    action()
                except BaseException as error:
                    self.baton.failed(error)


class Baton:
    """Virtual time, and whose turn it is."""

    def __init__(self) -> None:
        self.now = START
        self.current: Thread | None = None
        self.turns = 0
        self.switches = 0
        self.over = False
        self.errors: list[BaseException] = []
        self.started: list[Thread] = []
        self.on_behalf: Process | None = None  # whose an action is, if not the current one's
        self._agenda: list[tuple[int, int, int, Thread | Action]] = []
        self._order = count()
        self._driver = _thread.allocate_lock()
        self._driver.acquire()

    # -- who is there -------------------------------------------------------------------

    @property
    def process(self) -> Process:
        """The process that has the baton."""
        if self.on_behalf is not None:
            return self.on_behalf
        assert self.current is not None
        return self.current.process

    def kill(self, process: Process) -> None:
        """A process dies, with all its threads, wherever they are."""
        process.dead = True
        for thread in process.threads:
            if thread is not self.current:
                self.wake(thread)

    def failed(self, error: BaseException) -> None:
        """Something raised what nobody expected: the simulation is over."""
        self.errors.append(error)
        self.over = True

    # -- time ---------------------------------------------------------------------------

    def after(self, delay: int, action: Action) -> None:
        """Call something later, in whichever thread then has the baton."""
        heappush(self._agenda, (self.now + delay, next(self._order), 0, action))

    def wake(self, thread: Thread, delay: int = 0) -> None:
        """Let a thread that waits go on."""
        thread.ticket += 1
        heappush(self._agenda, (self.now + delay, next(self._order), thread.ticket, thread))

    def pause(self, delay: int | None) -> None:
        """Pass the baton on, and wait: so many microseconds, or until woken (None)."""
        me = self.current
        assert me is not None
        if me.process.dead:
            raise Crash
        me.ticket += 1
        if delay is not None:
            at = self.now + delay
            heappush(self._agenda, (at, next(self._order), me.ticket, me))
        self.hand_on(me)
        if me.process.dead:
            raise Crash

    def hand_on(self, me: Thread | None) -> None:
        """Give the baton to the next one, and come back with it; ``None`` has ended."""
        following = self._next()
        if following is me and me is not None:
            return
        self.switches += 1
        self.current = following
        (self._driver if following is None else following.lock).release()
        if me is not None:
            me.lock.acquire()

    def _next(self) -> Thread | None:
        """The thread whose turn it is; None for the driver."""
        agenda = self._agenda
        self.turns += 1
        if self.turns == BUDGET:
            self.failed(RuntimeError(f"somebody spins: {BUDGET} turns"))
        while agenda and not self.over:
            at, _, ticket, target = heappop(agenda)
            self.now = max(self.now, at)
            if not isinstance(target, Thread):
                try:
                    target()
                except BaseException as error:
                    self.failed(error)
                continue
            if ticket != target.ticket or target.ended:
                continue
            process = target.process
            if process.stopped_until > self.now and not process.dead:
                heappush(agenda, (process.stopped_until, next(self._order), ticket, target))
                continue
            return target
        return None

    # -- the driver ---------------------------------------------------------------------

    def run(self) -> None:
        """Called by the driver: until somebody sets ``over``, or nothing is left to do."""
        self.hand_on(None)
        self._driver.acquire()
        self.over = True
        for thread in self.started:
            thread.process.dead = True
        for thread in self.started:
            while not thread.ended:  # it may wait for another one while it dies
                self.current = thread
                thread.lock.release()
                self._driver.acquire()
