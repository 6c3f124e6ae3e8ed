import functools
import itertools
import os
import random
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Callable, Iterable

import durable as d
from durable import Cancelled, Workflow, activity, gather, race, shield, sleep, spawn, timeout, wait_signal, workflow


@activity
def step(n: int) -> int: ...


@dataclass
class Window:
    start: datetime
    end: datetime

    def is_open(self, at: Callable[[], datetime] = datetime.now) -> bool:
        return self.start < at() < self.end


def jittered(base: float) -> float:
    return base + random.uniform(0, 1)  # expect: DUR102 random.uniform() draws another number in each replay


def backoff(times: int) -> Iterable[float]:
    for n in range(times):
        yield jittered(2.0**n)


def poll(url: str) -> Workflow[str]:
    for _ in itertools.count():  # expect: DUR143 this loop never ends, and its history grows
        yield step.call(len(url))
        yield sleep(60)


@workflow
def ticks(window: Window) -> Workflow[int]:
    for delay in backoff(3):
        yield sleep(delay)
    if (began := time.time()) > 5:  # expect: DUR101 time.time() gives another time in each replay
        yield sleep(began)
    total: int = sum(step.call(n) for n in range(3))  # expect: DUR122 step.call(…) is no result yet
    text = ",".join([step.call(n) for n in range(3)])  # expect: DUR122 step.call(…) is no result yet
    if any(step.call(n) for n in range(3)) and text:  # expect: DUR122 step.call(…) is no result yet
        yield sleep(1)
    if d.wait_signal("stop") and window:  # expect: DUR122 d.wait_signal(…) is no result yet
        return total
    results = []
    for n in range(3):
        results.append(step.call(n))  # expect: DUR125 step.call(…) is returned, not its result
    for _ in range(3):
        spawn(sleep(1))
        _ = step.call(5)  # expect: DUR122 step.call(…) is not yielded, so nothing is done
    d.gather(step.call(1), *[step.call(n) for n in range(2)])  # expect: DUR122 d.gather(…) is not yielded, so nothing is done
    (yield from poll("x"))
    yield step.options(timeout=os.environ["T"]).call(1)  # expect: DUR108 os.environ differs from worker to worker
    return results


@workflow
def conditional(flag: bool) -> Workflow[int]:
    if flag:
        step.call(1)  # expect: DUR122 step.call(…) is not yielded, so nothing is done
    else:
        yield step.call(2)
    value = (yield step.call(3)) if flag else step(4)  # expect: DUR121 step(…) is called in the workflow
    handlers = {"a": lambda: step.call(5), "b": lambda: time.sleep(1)}  # expect: DUR106 time.sleep() holds up the worker, again in every replay
    yield handlers["a"]()
    winner = yield race(step.call(1), timeout(5))
    with timeout(5):
        yield from (step.call(6), step.call(7))  # expect: DUR122 several commands are no command
    spawn(step.call(8)); step.call(9)  # expect: DUR122 step.call(…) is not yielded, so nothing is done
    functools.reduce(lambda a, b: a + b, map(time.sleep, [1]))  # expect: DUR106 time.sleep holds up the worker, again in every replay
    return value + winner.value


@workflow
def shields(flag: bool) -> Workflow[None]:
    try:
        yield wait_signal("go")
    except Cancelled:
        with shield():
            step.call(1)  # expect: DUR122 step.call(…) is not yielded, so nothing is done
            yield gather(step.call(2))
        yield step.call(3)  # expect: DUR124 after a cancel this yield only raises
        raise
    except Exception:
        if flag:
            raise
    try:
        yield wait_signal("go")
    finally:
        if flag:
            yield step.call(4)  # expect: DUR124 after a cancel this yield only raises
        shield()
        yield step.call(5)  # expect: DUR124 after a cancel this yield only raises
