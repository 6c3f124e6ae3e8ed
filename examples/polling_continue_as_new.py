"""A poll that goes on for ever with a short history: every few polls a new run begins.

    python examples/polling_continue_as_new.py
    durable run examples/polling_continue_as_new.py:follow '"feed.txt"' --id feed-1
    echo news >> feed.txt                   # in a second terminal, and at last: echo end
    durable signal feed-1 reader '"ann"'

The new run has the same id, what the old one gave it as arguments, and the signals that nobody
has read yet; the first handle's result is that of the last run.  The interval doubles while
there is nothing new.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable import (
    Orchestrator,
    Workflow,
    activity,
    continue_as_new,
    info,
    set_var,
    sleep,
    wait_signal,
    workflow,
)

POLLS_IN_A_RUN = 3
SHORTEST, LONGEST = 0.01, 10.0
"""Seconds between two polls."""


@activity
def next_line(path: str, cursor: int) -> tuple[str, int]:
    """A line of a feed that grows, and where the next one begins; the line is empty, and the
    cursor the same, if there is none yet."""
    if not Path(path).exists():
        return "", cursor
    with Path(path).open("rb") as file:
        file.seek(cursor)
        line = file.readline()
    if not line.endswith(b"\n"):  # it is being written
        return "", cursor
    return line.decode().strip(), cursor + len(line)


@workflow
def follow(path: str, cursor: int = 0, lines: int = 0, interval: float = SHORTEST) -> Workflow[str]:
    for _ in range(POLLS_IN_A_RUN):
        line, cursor = yield from next_line.call(path, cursor)
        if line == "end":
            reader = yield wait_signal("reader")
            return f"run {info().run} tells {reader} of {lines} lines"
        if line:
            lines, interval = lines + 1, SHORTEST
        else:
            interval = min(2 * interval, LONGEST)
        set_var("lines", lines)
        yield sleep(interval)
    return continue_as_new(path, cursor, lines, interval)


def main(feed: Path) -> None:
    feed.write_text("one\ntwo\n\n\nthree\n\nfour\nend\n", "utf-8")
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        handle = here.client.start(follow.options(id="feed"), str(feed))
        handle.signal("reader", "ann")  # the first run gets it, the last one reads it
        print(handle.result(timeout=60))
        for run in range(1, 4):
            events = [type(event).__name__ for event in handle.history(run)]
            print(f"run {run}: {events.count('ActivityCompleted')} polls, then {events[-1]}")


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        main(Path(directory, "feed.txt"))
