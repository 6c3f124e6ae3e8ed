"""Room for code that is nested deeply: Python compiles sums of a thousand terms, and a walk
through one takes several calls for each level, more than Python allows by itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 50_000  # calls
STACK = 256 << 20  # bytes, of which only those that are used take memory; a call takes below 2 KB


def with_room(work: Callable[[], T]) -> T:
    """What work returns or raises; it runs in a thread, as only a new one can have a large stack.

    What is nested too deeply even for that raises `RecursionError`.
    """
    running = _Running(work)
    with _room():
        running.start()
        running.join()
    if running.error is not None:
        raise running.error
    return running.results[0]


class _Running(threading.Thread, Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)  # Ctrl-C does not wait for it
        self.work = work
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(self.work())
        except BaseException as error:  # raised again where the result is waited for
            self.error = error


@contextmanager
def _room() -> Iterator[None]:
    depth, stack = sys.getrecursionlimit(), threading.stack_size(STACK)
    sys.setrecursionlimit(max(depth, DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(depth)
        threading.stack_size(stack)
