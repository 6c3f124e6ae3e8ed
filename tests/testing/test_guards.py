"""Guards: what workflow code must not call; and mistakes that the kit makes errors."""

from __future__ import annotations

import cProfile
import gc
import importlib
import io
import linecache
import logging
import multiprocessing
import os
import pathlib
import pdb
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from random import randint
from time import time as clock
from typing import Any

import pytest

from durable import Workflow, activity, logger, now, on_signal, side_effect, sleep, workflow
from durable import random as durable_random
from durable import uuid4 as durable_uuid4
from durable.errors import GuardError
from durable.testing import WorkflowEnv

log = logging.getLogger("of a workflow")

CLOCK = "use `now()`"
CHANCE = "use `random()`"
OUTSIDE = "do it in an activity"


class Moment(datetime):
    """As several libraries have one."""


class Chance(random.Random):
    """One that seeds itself, but for what it is given."""


sock = socket.socket()
system = random.SystemRandom()
unique: defaultdict[str, uuid.UUID] = defaultdict(uuid.uuid4)


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    sock.close()


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("time.time", lambda: time.time(), CLOCK),
    ("time.time", lambda: clock(), CLOCK),
    ("time.time_ns", lambda: time.time_ns(), CLOCK),
    ("time.monotonic", lambda: time.monotonic(), CLOCK),
    ("time.monotonic_ns", lambda: time.monotonic_ns(), CLOCK),
    ("time.perf_counter_ns", lambda: time.perf_counter_ns(), CLOCK),
    ("time.process_time", lambda: time.process_time(), CLOCK),
    ("time.sleep", lambda: time.sleep(0), "use `yield sleep(…)`"),
    ("datetime.now", lambda: datetime.now(), CLOCK),
    ("datetime.now", lambda: Moment.now(UTC), CLOCK),
    ("datetime.utcnow", lambda: datetime.utcnow(), CLOCK),
    ("datetime.today", lambda: datetime.today(), CLOCK),
    ("date.today", lambda: date.today(), CLOCK),
    ("random.random", lambda: random.random(), CHANCE),
    ("random.randint", lambda: randint(1, 2), CHANCE),
    ("random.choice", lambda: random.choice([1]), CHANCE),
    ("random.shuffle", lambda: random.shuffle([1, 2]), CHANCE),
    ("random.seed", lambda: random.seed(5), CHANCE),
    ("random.Random", lambda: random.Random(), CHANCE),
    ("random.Random", lambda: Chance(), CHANCE),
    ("random.SystemRandom", lambda: random.SystemRandom(), CHANCE),
    ("random.SystemRandom", lambda: system.choice([1, 2]), CHANCE),
    ("os.urandom", lambda: os.urandom(1), CHANCE),
    ("secrets.token_bytes", lambda: secrets.token_bytes(), CHANCE),
    ("secrets.token_hex", lambda: secrets.token_hex(), CHANCE),
    ("secrets.token_urlsafe", lambda: secrets.token_urlsafe(), CHANCE),
    ("secrets.randbelow", lambda: secrets.randbelow(5), CHANCE),
    ("random.SystemRandom", lambda: secrets.choice([1, 2]), CHANCE),
    ("uuid.uuid1", lambda: uuid.uuid1(), "use `uuid4()`"),
    ("uuid.uuid4", lambda: uuid.uuid4(), "use `uuid4()`"),
    ("uuid.uuid4", lambda: unique["new"], "use `uuid4()`"),
    ("uuid.uuid4", partial(uuid.uuid4), "use `uuid4()`"),
    ("tempfile.mkstemp", lambda: tempfile.mkstemp(), OUTSIDE),
    ("tempfile.TemporaryDirectory", lambda: tempfile.TemporaryDirectory(), OUTSIDE),
    ("sqlite3.connect", lambda: sqlite3.connect(":memory:"), OUTSIDE),
    ("open", lambda: open(os.devnull).close(), OUTSIDE),
    ("open", lambda: io.open(os.devnull).close(), OUTSIDE),  # noqa: UP020
    ("open", lambda: pathlib.Path(os.devnull).read_text(), OUTSIDE),
    ("open", lambda: pathlib.Path(os.devnull).open().close(), OUTSIDE),
    ("os.open", lambda: os.close(os.open(os.devnull, os.O_RDONLY)), OUTSIDE),
    ("os.stat", lambda: pathlib.Path(os.devnull).exists(), OUTSIDE),
    ("os.listdir", lambda: os.listdir("."), OUTSIDE),
    ("socket.socket", lambda: socket.socket(), OUTSIDE),
    ("socket.connect", lambda: sock.connect(("127.0.0.1", 1)), OUTSIDE),
    ("socket.create_connection", lambda: socket.create_connection(("127.0.0.1", 1)), OUTSIDE),
    ("socket.gethostname", lambda: socket.gethostname(), OUTSIDE),
    ("socket.getaddrinfo", lambda: socket.getaddrinfo("127.0.0.1", 1), OUTSIDE),
    ("subprocess.Popen", lambda: subprocess.run([sys.executable, "-V"]), OUTSIDE),
    ("os.system", lambda: os.system("true"), OUTSIDE),
    ("multiprocessing.Process", lambda: multiprocessing.Process(target=len).start(), OUTSIDE),
    ("threading.Thread.start", lambda: threading.Thread(target=len).start(), "use `spawn(…)`"),
    ("threading.Thread.start", lambda: ThreadPoolExecutor().submit(int), "use `spawn(…)`"),
    ("os.environ[…] = …", lambda: os.environ.__setitem__("GUARDED", "1"), OUTSIDE),
    ("os.environ[…] = …", lambda: os.environ.update(GUARDED="1"), OUTSIDE),
    ("os.environ[…] = …", lambda: os.environ.setdefault("GUARDED", "1"), OUTSIDE),
    ("os.environ[…] = …", lambda: os.environ.__ior__({"GUARDED": "1"}), OUTSIDE),
    ("del os.environ[…]", lambda: os.environ.pop("PATH"), OUTSIDE),
    ("del os.environ[…]", lambda: os.environ.__delitem__("PATH"), OUTSIDE),
    ("del os.environ[…]", lambda: os.environ.clear(), OUTSIDE),
    ("os.putenv", lambda: os.putenv("GUARDED", "1"), OUTSIDE),
]


class Deleted:
    """What the collector finds may call what it likes."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        time.time()


def collected() -> None:
    def callback(phase: str, info: dict[str, int]) -> None:
        time.perf_counter()

    gc.callbacks.append(callback)
    try:
        Deleted()
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def broken_into() -> None:
    """A debugger reads commands, and files."""
    pdb.Pdb(stdin=io.StringIO("where\ncontinue\n"), stdout=io.StringIO(), nosigint=True).set_trace()


def looked_up() -> None:
    linecache.clearcache()
    linecache.getline(__file__, 1)


def traced() -> None:
    try:
        raise LookupError
    except LookupError:
        linecache.clearcache()
        traceback.format_exc()


GOOD: dict[str, Callable[[], object]] = {
    "logging": lambda: log.warning("it goes on"),
    "a logger": lambda: logger().info("it goes on"),
    "a seeded Random": lambda: random.Random(5).choice([1, 2]),
    "now": now,
    "random": lambda: durable_random().choice([1, 2]),
    "uuid4": durable_uuid4,
    "an import": lambda: __import__("colorsys"),
    "reading os.environ": lambda: os.environ.get("PATH"),
    "printing": lambda: print("it goes on"),
    "the collector of garbage": collected,
    "a debugger": broken_into,
    "a traceback": traced,
    "a line of a file": looked_up,
    "a lazy import of what asks a clock": lambda: importlib.import_module("asks_at_import"),
    "a library of logging": lambda: importlib.import_module("structlog").info("it goes on"),
    "a date": lambda: datetime(2025, 1, 1).isoformat(),
}


@pytest.mark.parametrize(("name", "do", "instead"), BAD, ids=[name for name, _, _ in BAD])
@pytest.mark.parametrize("caught", [False, True])
def test_what_must_not_be_called(
    name: str, do: Callable[[], object], instead: str, caught: bool
) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        try:
            do()
        except Exception:
            if not caught:
                raise
        yield sleep(1)

    with pytest.raises(GuardError) as failed:
        WorkflowEnv(flow).run()
    place, text, use = str(failed.value).split(": ", 2)
    assert place.startswith(f"{__file__}:")
    assert text == f"workflow code calls {name}"
    assert use.startswith(instead)
    assert "GUARDED" not in os.environ


@pytest.fixture
def _modules(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some that workflows import."""
    asks = "import time, uuid\nBEGAN, ID = time.time(), uuid.uuid4()\n"
    logs = "import datetime\n\ndef info(text):\n    return datetime.datetime.now(), text\n"
    for name, text in (("asks_at_import", asks), ("structlog", logs)):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("_modules")
@pytest.mark.parametrize("do", GOOD.values(), ids=GOOD)
def test_what_may_be_called(do: Callable[[], object]) -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        do()
        yield sleep(1)
        return "done"

    assert WorkflowEnv(flow).run() == "done"


def test_the_line_is_that_of_the_call() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        time.time()

    with pytest.raises(GuardError) as caught:
        WorkflowEnv(flow).run()
    line = flow.fn.__code__.co_firstlineno + 3
    assert f"test_guards.py:{line}, in flow: " in str(caught.value)


def test_before_the_first_yield_and_in_helpers() -> None:
    def helper() -> Workflow[float]:
        yield sleep(1)
        return time.time()

    @workflow
    def early() -> Workflow[None]:
        time.time()
        yield sleep(1)

    @workflow
    def late() -> Workflow[float]:
        return (yield from helper())

    for flow in (early, late):
        with pytest.raises(GuardError, match=r"time\.time"):
            WorkflowEnv(flow).run()


def test_activities_and_side_effects_may() -> None:
    @activity
    def act() -> float:
        return random.random() * time.time()

    @workflow
    def flow() -> Workflow[float]:
        began = yield from side_effect(time.time)
        return began * (yield from act.call())

    assert WorkflowEnv(flow, activities=[act]).run() >= 0


def test_mocks_and_callbacks_may() -> None:
    @activity
    def act() -> float:
        return 0.0

    @workflow
    def child() -> Workflow[float]:
        yield sleep(1)
        return 0.0

    @workflow
    def flow() -> Workflow[list[float]]:
        return [(yield from act.call()), (yield from child.call())]

    env = WorkflowEnv(flow)
    env.mock(act, side_effect=time.time)
    env.mock(child, side_effect=time.time)
    env.after(seconds=0, do=time.time)
    assert min(env.run()) > 0


class Late:
    """In a cycle: the garbage collector finalizes it, whenever it runs."""

    def __init__(self, done: list[str]) -> None:
        self.myself = self
        self.done = done

    def __del__(self) -> None:
        self.done.append(f"finalized at {time.time():.0f}")


@pytest.mark.parametrize("place", [0, 1 << 20])
def test_the_garbage_collector_may(place: int) -> None:
    done: list[str] = []

    def timed(phase: str, info: dict[str, int]) -> None:
        done.append(f"{phase} at {time.perf_counter()}")

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        Late(done)
        gc.collect()
        yield sleep(1)

    gc.callbacks.insert(place, timed)
    try:
        WorkflowEnv(flow).run()
    finally:
        gc.callbacks.remove(timed)
    assert {what.partition(" ")[0] for what in done} == {"start", "finalized", "stop"}


def test_what_comes_after_a_collection_is_seen() -> None:
    @workflow
    def flow() -> Workflow[None]:
        gc.collect()
        time.time()
        yield sleep(1)

    with pytest.raises(GuardError, match=r"time\.time"):
        WorkflowEnv(flow).run()


def test_without_guards() -> None:
    @workflow
    def flow() -> Workflow[None]:
        time.time()
        yield sleep(1)

    WorkflowEnv(flow, guards=False).run()


@workflow
def timing() -> Workflow[str]:
    yield sleep(1)
    time.time()
    return "done"


@pytest.mark.parametrize("allow", ["time.time", ["os.urandom", "time.time"], [__name__]])
def test_what_is_allowed(allow: Any) -> None:
    WorkflowEnv(timing, allow=allow).run()


@pytest.mark.parametrize("allow", [["time.monotonic"], ["time"], [__name__[:-1]]])
def test_what_is_not_allowed(allow: Any) -> None:
    with pytest.raises(GuardError, match=r"time\.time"):
        WorkflowEnv(timing, allow=allow).run()


def test_names_are_allowed() -> None:
    wrong: Any = [time.time]
    with pytest.raises(TypeError, match=r"allow= takes names of calls and modules, not <built-in"):
        WorkflowEnv(timing, allow=wrong)


def test_without_guards_inside_of_guards() -> None:
    inner = []

    def run_another() -> None:
        inner.append(WorkflowEnv(timing, guards=False).run())

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(60)
        time.time()

    env = WorkflowEnv(flow)
    env.at(seconds=5, do=run_another)
    with pytest.raises(GuardError, match=r"in flow: workflow code calls time\.time"):
        env.run()
    assert inner == ["done"]


def test_a_library_is_the_doing_of_who_calls_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is that of the workflow, and not of what it has installed."""
    (tmp_path / "installed_ids.py").write_text("import uuid\ndef new():\n    return uuid.uuid4()\n")
    monkeypatch.setattr("durable.testing.guards.LIBRARIES", (str(tmp_path),))
    monkeypatch.syspath_prepend(str(tmp_path))

    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        return str(importlib.import_module("installed_ids").new())

    with pytest.raises(GuardError, match=rf"^{__file__}:\d+, in flow: workflow code calls uuid"):
        WorkflowEnv(flow).run()


def test_a_profiler_is_given_back() -> None:
    def mine(*args: object) -> None: ...

    @workflow
    def flow() -> Workflow[None]:
        time.time()
        yield sleep(1)

    sys.setprofile(mine)
    try:
        with pytest.raises(GuardError):
            WorkflowEnv(flow).run()
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


def test_a_callback_is_workflow_code() -> None:
    @workflow
    def flow() -> Workflow[None]:
        on_signal("x", lambda value: time.time())
        yield sleep(60)

    env = WorkflowEnv(flow)
    env.at(seconds=1, do=lambda: env.signal("x"))
    with pytest.raises(GuardError, match=r"time\.time"):
        env.run()


def test_under_cprofile() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        return "done"

    profile = cProfile.Profile()
    profile.enable()
    try:
        assert WorkflowEnv(flow).run() == "done"
        assert len("still alive") == 11
    finally:
        profile.disable()


def test_the_line_is_the_users_even_below_what_dataclasses_write() -> None:
    @dataclass
    class Stamped:
        at: float = field(default_factory=time.time)

    @workflow
    def flow() -> Workflow[float]:
        yield sleep(1)
        return Stamped().at

    with pytest.raises(GuardError, match=r"test_guards\.py:\d+, in flow"):
        WorkflowEnv(flow).run()
