import json
import os
import random
import string
import sys
import time
import typing as t
from concurrent import futures
from datetime import datetime, timezone
from multiprocessing import Process
from pathlib import Path
from urllib import request

from durable import (
    Channel, Workflow, activity, continue_as_new, external, info, now, on_signal, patched, race,
    set_var, side_effect, sleep, sleep_until, spawn, wait_signal, wait_until, with_timeout, workflow,
)

CONFIG = Path("config.json")


@activity
def charge(n: int, key: str = "") -> str: ...


def token(size: int = 8) -> str:
    return "".join(random.choices(string.ascii_letters, k=size))  # expect: DUR102 random.choices() draws another number in each replay


def config() -> dict[str, t.Any]:
    return json.loads(CONFIG.read_text())  # expect: DUR104 pathlib.Path().read_text() is done again in every replay


def is_late(at: datetime) -> bool:
    return datetime.now(timezone.utc) > at  # expect: DUR101 datetime.datetime.now() gives another time in each replay


@workflow
def flow(orders: t.List[str], seen: t.Set[str], kinds: t.FrozenSet[str] = frozenset()) -> Workflow[str]:
    settings = config()
    key = token()
    set_var("receipt", charge.call(1))  # expect: DUR122 charge.call(…) is no result yet
    yield charge.call(2, charge.call(3))  # expect: DUR122 charge.call(…) is no result yet
    if patched("x") and is_late(now()):
        sleep(5)  # expect: DUR122 sleep(…) is not yielded, so nothing is done
    for order in seen:  # expect: DUR110 the order of seen differs between processes
        yield charge.call(len(order))
    for kind in kinds | {"x"}:  # expect: DUR110 the order of kinds | {'x'} differs between processes
        yield charge.call(len(kind))
    jobs: Channel[int] = Channel()
    jobs.send(1)  # expect: DUR122 jobs.send(…) is not yielded, so nothing is done
    total = 0
    for _ in range(3):
        total += jobs.receive()  # expect: DUR122 jobs.receive(…) is no result yet
    promise = external()
    with futures.ProcessPoolExecutor() as pool:  # expect: DUR107 concurrent.futures.ProcessPoolExecutor() is not repeated in the same order
        pool.submit(charge, 5)
    Process(target=charge).start()  # expect: DUR107 multiprocessing.Process() is not repeated in the same order
    with request.urlopen("https://example.org") as answer:  # expect: DUR104 urllib.request.urlopen() is done again in every replay
        key += answer.read().decode()
    at = sleep_until(now())  # expect: DUR122 sleep_until(…) is not yielded, so nothing is done
    value = yield side_effect(random.random())  # expect: DUR102 random.random() draws another number in each replay
    answer = yield with_timeout(charge(5), 10)  # expect: DUR121 charge(…) is called in the workflow
    winner = yield race(wait_signal("a"), charge)  # expect: DUR121 charge is no command
    sys.stdout.write(f"{winner}")  # expect: DUR105 sys.stdout.write() says it again in every replay
    sys.exit(0) if os.getenv("STOP") else None  # expect: DUR108 os.getenv() differs from worker to worker
    yield wait_until(lambda: time.time() > 5)  # expect: DUR101 time.time() gives another time in each replay
    on_signal("x", lambda v: charge.call(v))
    spawn(charge.call)  # expect: DUR121 charge.call is no command
    continue_as_new(orders)
    return f"{settings} {key} {total} {promise} {value} {answer} {info()}"
