"""Several worker processes under one: those that die are started again.

Children are new processes of the command line, so nothing crosses a fork.  Each holds one
end of a pipe whose other end is here: if this process dies, they see it close and stop.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

logger = logging.getLogger("durable.worker")

PARENT_PIPE = "DURABLE_PARENT_PIPE"
"""Environment variable of a child: the number of its end of the pipe."""
MIN_LIFE = 5.0
MAX_PAUSE = 10.0


class Supervisor:
    """Runs ``processes`` children of ``python -m durable ARGV``."""

    def __init__(self, argv: list[str], processes: int, grace: float) -> None:
        self.argv = argv
        self.processes = processes
        self.grace = grace
        self._children: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._due: dict[int, float] = dict.fromkeys(range(processes), 0.0)
        self._pauses: dict[int, float] = dict.fromkeys(range(processes), 0.1)
        self._stopping = threading.Event()
        self._hard = False
        self._ours, self._theirs = -1, -1

    def run(self) -> int:
        """Until SIGTERM or SIGINT; gives 0, or 1 if children had to be killed."""
        self._theirs, self._ours = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        while not self._stopping.is_set():
            self._tend()
            self._stopping.wait(0.1)
        return self._stop()

    def _on_signal(self, number: int, frame: Any) -> None:
        self._hard = self._stopping.is_set()
        self._stopping.set()

    def _tend(self) -> None:
        """Start what is due, and notice who has died."""
        now = time.monotonic()
        for place, (child, since) in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[place]
            quick = now - since < MIN_LIFE
            pause = min(self._pauses[place] * 2, MAX_PAUSE) if quick else 0.1
            self._pauses[place] = pause
            self._due[place] = now + pause
            logger.warning("worker process %s ended with %s; restarting", child.pid, code)
        for place, due in list(self._due.items()):
            if due <= now:
                del self._due[place]
                self._children[place] = (self._start(), now)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "durable", *self.argv],
            env={**os.environ, PARENT_PIPE: str(self._theirs)},
            pass_fds=[self._theirs],
            start_new_session=True,  # Ctrl-C reaches this process only, which passes it on
        )

    def _stop(self) -> int:
        for child, _ in self._children.values():
            child.terminate()
        end = time.monotonic() + self.grace + 5
        killed = False
        for child, _ in self._children.values():
            while child.poll() is None:
                if self._hard or time.monotonic() > end:
                    child.kill()
                    child.wait()
                    killed = True
                time.sleep(0.02)
        os.close(self._ours)
        os.close(self._theirs)
        return 1 if killed else 0


def supervise(argv: list[str], processes: int, grace: float) -> int:
    """Run worker processes until a signal comes; gives the exit code."""
    return Supervisor(argv, processes, grace).run()


def stop_with_parent() -> None:
    """In a child: stop (SIGTERM to itself) when the supervisor has died."""
    number = os.environ.pop(PARENT_PIPE, None)
    if number is None:
        return
    fd = int(number)

    def watch() -> None:
        os.read(fd, 1)  # nobody writes: it returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="durable-parent", daemon=True).start()
