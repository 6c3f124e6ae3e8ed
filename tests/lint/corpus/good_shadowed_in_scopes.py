import time as clock
from random import random

from durable import Workflow, sleep, workflow


@workflow
def flow(items: list[float]) -> Workflow[float]:
    total = sum(random for random in items)
    clock = max(items)
    steps = [time for time in items if time > clock]
    yield sleep(total)
    return (lambda random: random(1))(float) + len(steps)


def measure() -> float:
    return clock.time() + random()
