import functools
import time
from contextlib import contextmanager

from durable import Workflow, activity, gather, on_signal, side_effect, sleep, spawn, wait_until, workflow


@activity
def fetch(url: str) -> bytes: ...


@contextmanager
def measured(name: str):
    began = time.time()  # expect: DUR101 time.time() gives another time in each replay
    yield
    print(name, time.time() - began)  # expect: DUR105 print() says it again in every replay # expect: DUR101 time.time() gives another time in each replay


def retrying(times: int, part) -> Workflow[bytes]:
    for attempt in range(times):
        try:
            return (yield from part())
        except:  # expect: DUR131 except
            time.sleep(2**attempt)  # expect: DUR106 time.sleep() holds up the worker, again in every replay
    return b""


@workflow
def crawl(urls: list[str], seen: dict[str, int] = {}) -> Workflow[int]:  # expect: DUR142 the default {} is shared by all instances
    total = 0

    def one(url: str) -> Workflow[bytes]:
        return (yield fetch.call(url))

    def worker() -> Workflow[None]:
        for url in urls:
            one(url)  # expect: DUR126 one(…) does not run
            seen[url] = len((yield from one(url)))

    def deadline() -> bool:
        return time.time() > 5  # expect: DUR101 time.time() gives another time in each replay

    spawn(worker())
    on_signal("add", lambda url: print(url))  # expect: DUR105 print() says it again in every replay
    with measured("crawl"):
        yield gather(one("a"), one("b"))  # expect: DUR126 one(…) is a generator, no command # expect: DUR126 one(…) is a generator, no command
    yield wait_until(deadline)
    yield wait_until(functools.partial(deadline))
    at = yield side_effect(time.time())  # expect: DUR101 time.time() gives another time in each replay
    for data in [one(url) for url in urls]:  # expect: DUR126 one(…) does not run
        total += len(data)
    yield sleep(at)
    return total
