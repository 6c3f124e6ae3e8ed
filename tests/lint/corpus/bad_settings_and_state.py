import os
import platform
import sys
from collections import Counter, defaultdict
from functools import lru_cache

from shop import settings
from shop.state import cache

from durable import Workflow, activity, sleep, workflow

COUNTS: Counter[str] = Counter()
BY_USER = defaultdict(list)
TOTAL = 0
FLAGS = set()


class Registry:
    orders: list[str] = []
    last = None


registry = Registry()


@lru_cache
def region() -> str:
    return os.environ["REGION"]  # expect: DUR108 os.environ differs from worker to worker


def remember(user: str) -> None:
    global TOTAL
    TOTAL += 1  # expect: DUR109 TOTAL lives outside of the workflow and is changed in each replay
    BY_USER[user].append(TOTAL)  # expect: DUR109 BY_USER lives outside of the workflow and is changed in each replay


@activity
def charge(user: str) -> None: ...


@workflow
def flow(user: str) -> Workflow[str]:
    COUNTS[user] += 1  # expect: DUR109 COUNTS lives outside of the workflow and is changed in each replay
    COUNTS.update([user])  # expect: DUR109 COUNTS lives outside of the workflow and is changed in each replay
    FLAGS.add(user)  # expect: DUR109 FLAGS lives outside of the workflow and is changed in each replay
    remember(user)
    Registry.orders.append(user)  # expect: DUR109 Registry lives outside of the workflow and is changed in each replay
    Registry.last = user  # expect: DUR109 Registry lives outside of the workflow and is changed in each replay
    registry.last = user  # expect: DUR109 registry lives outside of the workflow and is changed in each replay
    settings.LAST = user  # expect: DUR109 settings lives outside of the workflow and is changed in each replay
    cache[user] = 1  # expect: DUR109 cache lives outside of the workflow and is changed in each replay
    settings.USERS.append(user)  # expect: DUR109 settings lives outside of the workflow and is changed in each replay
    yield charge.call(region())
    if sys.platform == "linux" and platform.node():  # expect: DUR108 platform.node() differs from worker to worker
        yield sleep(os.getpid())  # expect: DUR108 os.getpid() differs from worker to worker
    for flag in FLAGS:  # expect: DUR110 the order of FLAGS differs between processes
        yield charge.call(flag)
    for name in {"a", "b"} & set(BY_USER):  # expect: DUR110 the order of {'a', 'b'} & set(BY_USER) differs between processes
        yield charge.call(name)
    users = frozenset([user, "x"])
    yield charge.call(next(iter(users)))  # expect: DUR110 the order of users differs between processes
    yield charge.call(str(list(users)))  # expect: DUR110 the order of users differs between processes
    return f"{id(user)} {hash(user)}"  # expect: DUR111 id() is another number in each process # expect: DUR111 hash() is another number in each process
