"""A worker's lease: registration, heartbeats, and taking over from the dead.

Rules
-----
* A worker incarnation is registered under a random id, and its lease is renewed from a
  thread of its own, so that a long step does not lose it.
* Trust counts from *before* the heartbeat was sent.  One that finds itself expired drops
  everything and registers under a new id.
* What attempts tell by their heartbeats is sent by the same thread, once a tick.
* A worker whose process is gone from this machine is taken over at once; any other when its
  lease has expired.  Of workers that are known, that can be seen without the store: it is
  asked again when it has changed (somebody may have come), when a lease that was seen should
  have been renewed, and at each heartbeat.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from durable.beats import Beats
from durable.errors import DurableError, OutcomeUnknown
from durable.model import WorkerInfo
from durable.store import Store

logger = logging.getLogger("durable.worker")

TICK = 1.0
"""Seconds between looks for dead workers, at most."""

SHORTEST = 0.1
"""And at least."""


def machine() -> str:
    """Names this machine and its space of process ids, as far as that can be told."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if "/ns/" in path else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return ":".join(parts)


def fingerprint(modules: Iterable[ModuleType]) -> str:
    """A digest of the sources of the modules' top packages: which code a worker runs."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted({module.__name__.partition(".")[0] for module in modules}):
        for source in _sources(name):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources(name: str) -> list[Path]:
    """The source files of a top-level module or package."""
    top = sys.modules.get(name)
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    if folders:
        return sorted(file for folder in folders for file in folder.rglob("*.py"))
    file = getattr(top, "__file__", None)
    return [Path(file)] if file and Path(file).is_file() else []


def dead_neighbours(workers: Sequence[WorkerInfo], here: str) -> list[str]:
    """Ids of workers of this machine whose process is gone."""
    mine = os.getpid()
    return [w.id for w in workers if w.machine == here and w.pid != mine and not alive(w.pid)]


def alive(pid: int) -> bool:
    """Whether a process of this machine runs. One that has ended and was not yet collected
    by its parent (a zombie, frequent in containers) does not; a stopped one does."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    except (OSError, IndexError):
        pass  # gone, or a system without /proc
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Look:
    """What was seen of the workers of a store. mark: the store's, before. until: when the
    first lease of them ends, unless it is renewed (monotonic)."""

    workers: Sequence[WorkerInfo]
    mark: int
    until: float


class Lease:
    """Keeps one worker registered.

    lease: seconds. beats: of the attempts that run here; sent at every tick. on_beat: called
    after each heartbeat of the worker (the loop then reconciles). watch: called at every
    tick. unknown_after: seconds until an instance that nobody knows is blocked.
    """

    def __init__(
        self,
        store: Store,
        template: WorkerInfo,
        lease: float,
        *,
        unknown_after: float,
        beats: Beats,
        on_beat: Callable[[], None],
        watch: Callable[[], None],
    ) -> None:
        self._store = store
        self._template = template
        self._lease = lease
        self._unknown_after = int(unknown_after * 1_000_000)
        self._beats = beats
        self._on_beat = on_beat
        self._watch = watch
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trusted_until = 0.0
        self._seen = Look((), -1, 0.0)
        self.info = template
        self.given_up = False

    def register(self) -> WorkerInfo:
        """Register a new incarnation; what dead processes of this machine held is free."""
        store = self._store
        sent = time.monotonic()
        now = store.now()
        info = replace(
            self._template,
            id=os.urandom(8).hex(),
            pid=os.getpid(),
            started_at=now,
            expires_at=now + int(self._lease * 1_000_000),
        )
        self._store_known(info)
        self._trusted_until = sent + self._lease
        self.info = info
        try:
            self.take_over(always=True)
        except DurableError as error:  # it is registered; the next tick tries again
            logger.warning("nothing taken over yet: %s", error)
        return info

    def _store_known(self, info: WorkerInfo) -> None:
        """Register, again under the same id while it is not known whether it was stored: else
        a worker that nobody runs would count as one that is alive."""
        end = time.monotonic() + self._lease
        while True:
            try:
                return self._store.register(info)
            except OutcomeUnknown:
                if time.monotonic() >= end:
                    raise
            time.sleep(SHORTEST)

    @property
    def expired(self) -> bool:
        """Whether it may have been taken over."""
        return time.monotonic() >= self._trusted_until

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="durable-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing, and release all that is owned."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.unregister(self.info.id)

    def give_up(self) -> None:
        """This process cannot go on: let others take over at once, as after a crash."""
        self.given_up = True
        self._stop.set()
        self._trusted_until = 0.0
        self._store.take_over([self.info.id])

    def _beat(self) -> None:
        patience = max(self._unknown_after / 1_000_000, SHORTEST)
        pause = min(TICK, self._lease / 6, patience)
        next_beat = time.monotonic() + self._lease / 3
        next_look = time.monotonic()
        while not self._stop.wait(pause):
            try:
                self._watch()
                beats = time.monotonic() >= next_beat
                if beats:
                    self._renew()
                    next_beat = time.monotonic() + self._lease / 3
                self._beats.send(self.info.id)
                self.take_over(always=beats)
                if time.monotonic() >= next_look:
                    self._store.block_unknown(self.info, self._unknown_after)
                    next_look = time.monotonic() + patience / 2
            except DurableError as error:
                logger.warning("the store does not answer the heartbeat: %s", error)
            except Exception:
                logger.exception("the heartbeat failed")

    def take_over(self, *, always: bool) -> None:
        """Take over from who has died, if anybody may have.

        always: let the store look, too, where there may be more than it lists: what an earlier
        call that failed has left in a part of it.
        """
        if not always and not self._may_have_died():
            return
        here, mark = time.monotonic(), self._store.mark()  # before looking: nothing is missed
        workers, now = self._store.workers(), self._store.now()
        dead = dead_neighbours(workers, self.info.machine)
        if dead:
            logger.info("taking over from %s dead workers of this machine", len(dead))
            self._store.take_over(dead)
        lease = int(self._lease * 1_000_000)
        left = min((worker.expires_at - now for worker in workers), default=lease)
        if (always or left <= 0) and self._store.take_over(None):
            logger.info("took over from workers whose lease has expired")
        self._seen = Look(workers, mark, here + left / 1_000_000)

    def _may_have_died(self) -> bool:
        """Whether somebody may have, as far as that can be told without asking the store."""
        seen = self._seen
        return (
            self._store.mark() != seen.mark
            or time.monotonic() >= seen.until
            or bool(dead_neighbours(seen.workers, self.info.machine))
        )

    def _renew(self) -> None:
        info, sent = self.info, time.monotonic()
        cancelled = self._store.heartbeat(info.id, int(self._lease * 1_000_000))
        if info is not self.info:
            return
        if cancelled is None:
            self._trusted_until = 0.0
            logger.warning("the lease of worker %s has expired", info.id)
        else:
            self._trusted_until = sent + self._lease
            self._beats.cancel(cancelled)
        self._on_beat()
