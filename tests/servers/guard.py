"""Ends what a test process started once that process is gone, however it went: kill -9 as well.

It runs as a program of its own, in its own session, so that Ctrl-C does not reach it.  Its
standard input is a pipe from the test process, with a line ``pid moment-of-birth`` for each
process that was started; the pipe's end is the sign.  Then it kills them all and removes the
folder that is its argument.  It imports nothing from here: it must start at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

POLL = 0.02


def _stat(pid: int | str) -> list[str]:
    """From the state on, the fields of a process; the name before may have any sign in it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def born(pid: int) -> str:
    """When a process began, in ticks: tells it from a later one of the same number."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def family(pid: int) -> list[int]:
    """A process and all that it started, without what has ended; [] if it has ended itself.

    Not its process group: each backend of PostgreSQL begins a session of its own.
    """
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdecimal() else []
        if fields and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(name))
    if not any(pid in siblings for siblings in children.values()):
        return []
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def halt(pid: int) -> list[int]:
    """Tell a family to stop where it is; gives its members.

    Told again until no child is new: from then on there is none that could begin another.
    """
    known: list[int] = []
    while (now := family(pid)) != known:
        send(now, signal.SIGSTOP)
        known = now
    return known


def freeze(pid: int) -> None:
    """Stop a family; gives when all its threads stand still."""
    members = halt(pid)
    while any(fields[:1] not in ([], ["T"], ["Z"]) for one in members for fields in _threads(one)):
        time.sleep(POLL / 4)


def _threads(pid: int) -> list[list[str]]:
    try:
        return [_stat(f"{pid}/task/{name}") for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def kill(pid: int) -> None:
    """Kill -9 a family, halted first so that no child is missed; gives when it is gone."""
    members = halt(pid)
    send(members, signal.SIGKILL)
    while any(_stat(one)[:1] not in ([], ["Z"], ["X"]) for one in members):
        time.sleep(POLL / 4)


def main(folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started = [line.split() for line in sys.stdin]
    for pid, moment in started:
        if born(int(pid)) == moment:
            kill(int(pid))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
