"""The named points of the protocol, at which a process of a campaign kills or stops itself.

A point is a verb of the store and a place: ``before`` it is called, ``after`` it has returned,
``within`` its transaction, when all of it is written and COMMIT is not (a script of Redis has
no such place), and ``fails``: it is done, and raises as if nobody knew.

After a claim, a takeover and the like only those calls are counted that gave something.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from durable.errors import OutcomeUnknown
from durable.store import Claimed, Owned, Store

PLACES = ("before", "within", "after", "fails")
ANY = "any"

LATE, STOPPED = "late", "stopped"
LATE_VERBS = ("commit", "complete", "heartbeat", "release", "adopt")

CLIENT_VERBS = (
    *("create", "send", "terminate", "pause", "resume", "unblock", "rerun", "delete", "purge"),
    "settle",
)
WORKER_VERBS = (
    *("register", "heartbeat", "beat", "unregister", "take_over", "block_unknown", "claim"),
    *("owned", "adopt", "release", "commit", "complete", "history", "workers"),
)


@dataclass(frozen=True)
class Fault:
    """What is done the n-th time that a point is reached. verb: `ANY` counts them all.

    number: the signal that the process sends to itself; for ``fails`` it does not matter.
    """

    verb: str
    place: str
    nth: int = 1
    number: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.verb}-{self.place}-{self.nth}"


def has_transactions(store: Store) -> bool:
    """Whether there is a place ``within`` its verbs."""
    return hasattr(store, "_transact")


class Points:
    """Hooks the verbs of an opened store. reached: a file, with a line for each fault that
    was injected, written before it is; and, of a process that was stopped and goes on, for
    what each of its writes gave until it has registered anew."""

    def __init__(self, store: Store, faults: tuple[Fault, ...], reached: Path) -> None:
        self._left = {fault: fault.nth for fault in faults}
        self._reached = reached
        self._woken = False  # it was stopped, and has not noticed what it has missed
        self._lock = threading.Lock()
        self._writing = threading.RLock()  # held by the one thread that is in a transaction
        self._now = threading.local()
        for verb in (*CLIENT_VERBS, *WORKER_VERBS):
            setattr(store, verb, partial(self._call, verb, getattr(store, verb)))
        if has_transactions(store):
            hooked: Any = store
            hooked._transact = partial(self._transact, hooked._transact)

    def _call(self, verb: str, inner: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._now.verb = verb
        if verb == "register":
            self._woken = False
        stopped = self._hit(verb, "before")
        try:
            result = inner(*args, **options)
        except Exception as error:
            self._note_late(stopped, verb, type(error).__name__)
            raise
        finally:
            self._now.verb = ""
        self._note_late(stopped, verb, result)
        if _gave(result):
            self._hit(verb, "after")
            if self._hit(verb, "fails"):
                raise OutcomeUnknown(f"injected: {verb} was done")
        return result

    def _note_late(self, stopped: bool, verb: str, result: object) -> None:
        if stopped:
            self._note(f"{LATE} {STOPPED} {verb} {result}")
        elif self._woken and verb in LATE_VERBS:
            self._note(f"{LATE} {verb} {result}")

    def _transact(self, inner: Callable[..., Any], work: Callable[[Any], Any], **how: Any) -> Any:
        def written(tx: Any) -> Any:
            result = work(tx)
            self._hit(getattr(self._now, "verb", ""), "within")
            return result

        with self._writing:
            return inner(written, **how)

    def _hit(self, verb: str, place: str) -> bool:
        """Count, and do what is due; whether anything was (and the process still lives)."""
        with self._lock:
            due = [fault for fault in self._left if _fits(fault, verb, place)]
            for fault in due:
                self._left[fault] -= 1
            due = [fault for fault in due if self._left[fault] == 0]
        for fault in due:
            self._note(str(fault))
            if fault.number == signal.SIGSTOP:
                self.halt()
            elif place != "fails":
                os.kill(os.getpid(), fault.number)
        return bool(due)

    def halt(self) -> None:
        """Stop this process here, until somebody lets it go on.

        This very thread is told, or it would go on for a moment.  And no other one may be in a
        transaction: it would keep its locks.
        """
        with self._writing:
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            self._woken = True

    def _note(self, line: str) -> None:
        with self._reached.open("a") as file:
            file.write(f"{line}\n")


def _fits(fault: Fault, verb: str, place: str) -> bool:
    return fault.place == place and fault.verb in (verb, ANY) and bool(verb)


def _gave(result: Any) -> bool:
    if isinstance(result, Claimed):
        return bool(result.instances or result.tasks)
    if isinstance(result, Owned):
        return bool(result.instances or result.tasks)
    return bool(result != 0)
