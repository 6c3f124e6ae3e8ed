"""The clock of a database server, without asking it each time.

Rules
-----
* What is told is never ahead of the server: no timer fires early.
* Between two answers of the server it goes on by this process's monotonic clock.
* An answer tells how late it was at least when it came.  So of those of a second the one that
  gives the latest moment was the quickest, and is as good as any: one that came slowly, as
  this process was busy, puts the clock back by nothing.  An answer that is far behind was not
  slow: the server's clock was set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["ServerClock"]

ASK_EVERY = 1.0
"""Seconds for which the server is not asked again."""

SLOW = 500_000
"""Microseconds that an answer may have been under way."""


class ServerClock:
    """Moments of a server, in microseconds since 1970. ask: gives the server's."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._known: tuple[float, int] | None = None  # (monotonic, the server's then)

    def now(self) -> int:
        """The server's clock, or a little before it, never after."""
        known, here = self._known, time.monotonic()
        if known is None or here - known[0] > ASK_EVERY:
            return self.told(self._ask())
        return known[1] + int((here - known[0]) * 1_000_000)

    def told(self, now: int) -> int:
        """Remember what the server has said, as of when its answer came: it had gone on since."""
        known, here = self._known, time.monotonic()
        if known is not None and here - known[0] <= ASK_EVERY:
            late = known[1] + int((here - known[0]) * 1_000_000) - now
            if 0 <= late <= SLOW:
                return now
        self._known = (here, now)
        return now
