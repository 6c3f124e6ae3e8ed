"""``python skewed_worker.py SECONDS ARGUMENTS…``: the command ``durable`` whose clock is so many
seconds ahead.

Not by ``faketime``: under it Python's own ``time.sleep`` fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

seconds = float(sys.argv.pop(1))
real_time: Callable[[], float] = time.time
real_time_ns: Callable[[], int] = time.time_ns
vars(time).update(
    time=lambda: real_time() + seconds,
    time_ns=lambda: real_time_ns() + int(seconds * 1e9),
)

from durable.cli import main  # noqa: E402 — what it imports finds this clock

main()
