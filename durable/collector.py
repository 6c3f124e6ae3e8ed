"""The cyclic garbage collector is paused while steps are made.

Two reasons.  It must not run what is left of one instance inside a step of another: a
half-used helper generator in a reference cycle has its ``finally`` run by the collector,
wherever that happens to be.  And between turns nearly all that a turn made is gone already,
so that there is little to look through (measured: a third of a worker's CPU time).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Pause automatic collection for a turn (milliseconds), unless it is off already."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
