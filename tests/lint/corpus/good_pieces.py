from __future__ import annotations

import bisect
import copy
import heapq
import operator
import statistics
from collections import ChainMap, OrderedDict, namedtuple
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date, datetime, time, timedelta, timezone
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from durable import (
    Command, Winner, Workflow, activity, external, gather, info, logger, now, race, set_var, side_effect, sleep,
    sleep_until, spawn, wait_signal, with_timeout, workflow,
)

Point = namedtuple("Point", "x y")
DEFAULTS = {"retries": 3}
NAMES = frozenset({"a", "b"})
ORDER = ["a", "b"]
BERLIN = ZoneInfo("Europe/Berlin")


@activity
def step(n: int) -> int: ...


@activity
def rate() -> float: ...


def next_run(at: datetime) -> datetime:
    local = at.astimezone(BERLIN)
    day = local.date() + timedelta(days=local.time() > time(9))
    return datetime.combine(day, time(9), tzinfo=BERLIN)


def either(flag: bool) -> Command[int] | None:
    return step.call(1) if flag else None


@workflow
def daily(seed: int, *, options: dict[str, int] | None = None, count: int = 30) -> Workflow[list[float]]:
    settings = ChainMap(options or {}, DEFAULTS)
    queue: list[tuple[int, str]] = []
    rates: list[float] = []
    cache: OrderedDict[str, float] = OrderedDict()
    for n in range(count):
        yield sleep_until(next_run(now()))
        value = yield rate.call()
        bisect.insort(rates, value)
        heapq.heappush(queue, (n, str(value)))
        cache[str(n)] = value
        cache.move_to_end(str(n), last=False)
        if len(cache) > 3:
            cache.popitem()
        if "a" in NAMES and n % settings["retries"] == 0:
            set_var("median", statistics.median(rates))
    rng = Random(seed)
    order = sorted(NAMES, key=ORDER.index)
    rng.shuffle(order)
    point = Point(*rng.sample(range(10), 2))._replace(x=1)
    command = either(point.x > 0)
    if command:
        yield command
    maybe = either(False)
    if maybe is not None:
        yield maybe
    today = date.fromordinal(point.y + 1)
    utc = datetime.now if False else None
    deep = copy.deepcopy(settings.maps)
    picked = operator.itemgetter(0)(queue)
    key = UUID(int=rng.getrandbits(128), version=4)
    logger().info("%s %s %s %s %s %s", today, deep, picked, key, utc, timezone.utc)
    return rates


@workflow
def several(n: int) -> Workflow[Winner]:
    promise = external(timeout=5)
    commands: Sequence[Command[int]] = [step.call(i) for i in range(n)]
    head, *tail = commands
    yield head
    yield gather(*tail)
    pairs = {i: (step.call(i), sleep(i)) for i in range(n)}
    for first, second in pairs.values():
        yield race(first, second)
    batches = [commands[i : i + 2] for i in range(0, n, 2)]
    for batch in batches:
        yield gather(*batch)
    todo = [step.call(i) for i in range(n)]
    while todo:
        with nullcontext():
            yield gather(*[todo.pop() for _ in range(min(2, len(todo)))])
    stack = []
    stack.append(sleep(1))
    stack.append(sleep(2))
    yield stack[-1]
    undo = [step.call(0)]
    yield gather(*undo, *(step.call(i) for i in range(n)), return_exceptions=True)
    last = yield race(*commands, promise=promise, late=with_timeout(wait_signal("x"), 5))
    roll = yield from side_effect(Random(info().run).random)
    both = [gather(step.call(1), step.call(2)), gather(step.call(3))]
    results = yield gather(*both)
    assert len(results) == len(both)
    task = spawn(gather(*commands))
    return last if roll > 0.5 else (yield task)
