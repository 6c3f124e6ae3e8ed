"""What the campaigns of faults share: their report, stores that can be cut, and a ledger.

A campaign is seeded (``CAMPAIGN_SEED``), counts the faults that it made, and fails if there
were none.  It prints one line, which goes to the file ``DURABLE_CAMPAIGN_REPORT``, too; when it
fails it says how to run it again.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from servers.proxy import (
    FaultProxy,
    Trigger,
    commit_of_mysql,
    commit_of_postgresql,
    scripts,
)
from store_table import CLUSTER, EVERYTHING, SERVERS, STORES, fresh_url

from durable.errors import OutcomeUnknown
from durable.store import Store
from durable.stores import open_store
from durable.stores.redis_keys import SCRIPTS

PATIENCE = 60.0
"""Seconds for what must come."""

WRITES = (
    *("create", "send", "terminate", "pause", "resume", "unblock", "rerun", "delete", "purge"),
    *("register", "heartbeat", "beat", "unregister", "take_over", "block_unknown"),
    *("claim", "adopt", "release", "commit", "complete", "settle"),
)
"""The verbs that change something."""


def rounds(quick: int, nightly: int) -> int:
    """How often something is done: more by ``tests/run --long``."""
    return nightly if EVERYTHING else quick


def until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Wait for a condition; fails when the time is up."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.01)


# -- the report -------------------------------------------------------------------------


class Campaign:
    """What one campaign did on one store."""

    def __init__(self, name: str, store: str) -> None:
        self.name = name
        self.store = store
        self.seed = int(os.environ.get("CAMPAIGN_SEED") or random.SystemRandom().getrandbits(32))
        self.chance = random.Random(self.seed)
        self.began = time.monotonic()
        self.figures: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.notes: dict[str, object] = {}

    def line(self) -> str:
        """The report."""
        names = ("ops", "acked", "lost", "twice", "stuck")
        figures = [f"{name}={self.figures[name]}" for name in names]
        figures.append(f"faults={self.faults.total()}")
        figures += [f"{name}={self.figures[name]}" for name in ("unknown", "resolved")]
        figures += [f"{name}={count}" for name, count in sorted(self.faults.items())]
        figures += [f"{name}={value}" for name, value in self.notes.items()]
        seconds = time.monotonic() - self.began
        head = f"campaign={self.name} store={self.store} seed={self.seed}"
        return f"{head} {' '.join(figures)} seconds={seconds:.1f}"


@contextmanager
def campaign(name: str, store: str) -> Iterator[Campaign]:
    """Run one: it must have made faults, and is reported."""
    made = Campaign(name, store)
    try:
        yield made
        assert made.faults.total(), "no fault happened"
        assert not made.figures["lost"] + made.figures["twice"] + made.figures["stuck"]
    except Exception as error:
        test = os.environ.get("PYTEST_CURRENT_TEST", "tests/campaigns").partition(" ")[0]
        error.add_note(made.line())
        error.add_note(f"again: CAMPAIGN_SEED={made.seed} tests/run {test!r}")
        raise
    print(made.line())
    if file := os.environ.get("DURABLE_CAMPAIGN_REPORT"):
        with open(file, "a") as report:
            report.write(f"{made.line()}\n")


# -- a ledger ---------------------------------------------------------------------------


class Ledger:
    """What activities did, outside of any store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[tuple[str, str]] = []

    def clear(self) -> None:
        with self._lock:
            self._done.clear()

    def note(self, instance: str, what: str) -> None:
        with self._lock:
            self._done.append((instance, what))

    def again(self) -> int:
        """How many executions were not the first of theirs."""
        with self._lock:
            return len(self._done) - len(set(self._done))

    def twice(self) -> list[tuple[str, str]]:
        """What was done more than once."""
        with self._lock:
            return [one for one, count in Counter(self._done).items() if count > 1]

    def __len__(self) -> int:
        with self._lock:
            return len(self._done)


# -- stores whose commits can be cut ----------------------------------------------------

CUTTABLE = tuple(name for name in STORES if name != CLUSTER)
"""The nodes of a cluster tell clients their own addresses: nothing can stand between them."""

CUTTABLE_SERVERS = tuple(name for name in CUTTABLE if name in SERVERS)

TRIGGERS: Mapping[str, Trigger] = {
    "mysql": commit_of_mysql,
    "postgresql": commit_of_postgresql,
    "redis": scripts(script.sha for script in SCRIPTS.values() if not script.reads),
}


class Cuts:
    """Where there is no connection to cut, the error that is like it. hits: see `FaultProxy`."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self._next = ""
        self._lock = threading.Lock()

    def cut(self, when: str) -> None:
        with self._lock:
            self._next = when

    def spare(self) -> None:
        self.cut("")

    def close(self) -> None:
        self.spare()

    def around(self, act: Callable[[], Any], error: Exception) -> Any:
        """Do it, and raise the error before or after, if a cut is wanted."""
        with self._lock:
            when, self._next = self._next, ""
            if when:
                self.hits[when] += 1
        if when == "before":
            raise error
        done = act()
        if when == "after":
            raise error
        return done


class _CutCursor:
    """A cursor of SQLite whose COMMIT fails as if the disk had."""

    def __init__(self, cursor: sqlite3.Cursor, cuts: Cuts) -> None:
        self._cursor = cursor
        self._cuts = cuts

    def execute(self, text: str, params: Any = ()) -> Any:
        if text != "COMMIT":
            return self._cursor.execute(text, params)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        return self._cuts.around(lambda: self._cursor.execute(text), error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _cut_sqlite(store: Any) -> Cuts:
    cuts, another = Cuts(), store._links.another

    def another_cut() -> Any:
        link = another()
        link.cursor = _CutCursor(link.cursor, cuts)
        return link

    store._links.another = another_cut
    return cuts


def _cut_memory(store: Store) -> Cuts:
    """In memory nothing is unknown; clients and workers are none the wiser."""
    cuts, unknown = Cuts(), OutcomeUnknown("it is not known whether the call took effect")
    for verb in WRITES:
        tap(store, verb, lambda call: cuts.around(call, unknown))
    return cuts


def tap(store: Store, verb: str, around: Callable[[Callable[[], Any]], Any]) -> None:
    """Put something around a verb of this store object. around: is given the call."""
    inner = getattr(store, verb)
    setattr(store, verb, lambda *args, **named: around(lambda: inner(*args, **named)))


@contextmanager
def cut_store(name: str, folder: Path, **options: Any) -> Iterator[tuple[Store, Any, Store]]:
    """(a store that can be cut, its cuts, the same store without); both are open."""
    url = fresh_url(name, folder)
    if name in SERVERS:
        plain = open_store(url)
        plain.open()
        for script in SCRIPTS.values() if name == "redis" else ():
            plain._link.command("SCRIPT", "LOAD", script.text)  # type: ignore[attr-defined]
        cuts: Any = FaultProxy(port_of(name), TRIGGERS[name])
        far = open_store(cuts.url(url), **options)
        far.open()
    elif name == "sqlite":
        far, plain = open_store(url, **options), open_store(url)
        cuts = _cut_sqlite(far)
        far.open()
    else:
        far = plain = open_store(url)
        cuts = _cut_memory(far)
    try:
        yield far, cuts, plain
    finally:
        far.close()
        cuts.close()
        plain.close()


def port_of(name: str) -> int:
    """Of the server of this process."""
    return SERVERS[name]().processes[0].port


def choices(chance: random.Random, items: Sequence[str], count: int) -> list[str]:
    """Each of them so often, in any order."""
    found = [item for item in items for _ in range(count)]
    chance.shuffle(found)
    return found


def patience(name: str, seconds: float = 5) -> dict[str, float]:
    """The option by which a store of this kind waits so long for others."""
    return {"timeout": seconds} if name in SERVERS else {}


def count_unknown(store: Store, report: Campaign) -> None:
    """Count, by verb, the calls whose outcome was unknown."""

    def around(verb: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OutcomeUnknown:
            report.figures["unknown"] += 1
            report.figures[f"unknown {verb}"] += 1
            raise

    for verb in WRITES:
        tap(store, verb, partial(around, verb))
