from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from durable import (
    ActivityError, Channel, Task, TimeoutExpired, Workflow, activity, gather, on_signal, set_var,
    sleep, spawn, timeout, wait_until, workflow,
)

P = ParamSpec("P")
T = TypeVar("T")


def timed(function: Callable[P, T]) -> Callable[P, T]:
    """Of activities only."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            print(time.perf_counter() - began)

    return wrapper


@activity
@timed
def fetch(url: str) -> bytes:
    return url.encode()


@contextmanager
def stage(name: str) -> Iterator[None]:
    set_var("stage", name)
    try:
        yield
    finally:
        set_var("stage", f"{name} is over")


def retrying(times: int, part: Callable[[], Workflow[T]]) -> Workflow[T]:
    for attempt in range(times):
        try:
            return (yield from part())
        except ActivityError:
            if attempt + 1 == times:
                raise
            yield sleep(2**attempt)
    raise AssertionError("not reached")


@workflow
def crawl(urls: list[str]) -> Workflow[dict[str, int]]:
    sizes: dict[str, int] = {}
    paused = False
    jobs: Channel[str] = Channel(capacity=2)

    def pause(value: Any) -> None:
        nonlocal paused
        paused = bool(value)

    def one(url: str) -> Workflow[int]:
        yield wait_until(lambda: not paused)
        data = yield from fetch.call(url)
        return len(data)

    def worker() -> Workflow[None]:
        while True:
            url = yield from jobs.receive(default=None)
            if url is None:
                return
            sizes[url] = yield from retrying(3, lambda: one(url))

    on_signal("pause", pause)
    with stage("crawling"):
        workers: list[Task[None]] = [spawn(worker(), name=f"w{n}") for n in range(3)]
        for url in urls:
            yield jobs.send(url)
        jobs.close()
        try:
            with timeout(3600) as scope:
                yield gather(*workers)
        except TimeoutExpired:
            set_var("timed_out", scope.cancelled)
    return sizes
