import os
import random
import secrets
import time
from functools import partial

from durable import Workflow, side_effect, workflow


def roll() -> int:
    return random.randint(1, 6)


@workflow
def flow() -> Workflow[list[object]]:
    def local() -> float:
        return time.time()

    at = yield from side_effect(time.time)
    home = yield from side_effect(os.environ.get, "HOME")
    code = yield from side_effect(lambda: f"{secrets.randbelow(10**6):06}")
    dice = yield from side_effect(roll)
    more = yield from side_effect(partial(random.uniform, 1, 2))
    last = yield side_effect(local)
    path = yield side_effect(os.environ.__getitem__, "PATH")
    return [at, home, code, dice, more, last, path]
