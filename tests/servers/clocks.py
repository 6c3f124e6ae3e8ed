"""Wrong clocks: a program runs under ``faketime``, and its clock is moved by a file.

    clock = Clock(folder)
    process.environment.update(clock.environment)
    clock.move(3600)  # it is an hour later, for the program

Only the clock that tells the time of day is moved: the one that counts seconds for waiting
goes on, as it does on a machine whose time is set.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import servers
from servers.processes import program

LIBRARIES = ("usr/lib/*/faketime", "usr/lib*/faketime", "usr/local/lib/faketime")


class Clock:
    """The clock of some programs. environment: what they are to find there."""

    def __init__(self, folder: Path, seconds: float = 0) -> None:
        self._file = folder / "clock"
        self.move(seconds)
        self._file.chmod(0o644)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, seconds: float) -> None:
        """From now on it is so many seconds later than it is."""
        new = self._file.with_name("clock.new")
        new.write_text(f"{seconds:+}\n")
        new.chmod(0o644)
        new.rename(self._file)  # as a whole: it is read at every look at the clock


def _library() -> Path:
    """Of ``faketime``; skips the test if it is not there."""
    if program("faketime") is not None:
        for folder in LIBRARIES:
            for found in sorted(Path("/").glob(f"{folder}/libfaketimeMT.so.1")):
                return found
    text = "MISSING faketime; as root: apt-get install faketime"
    if servers._is_strict():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
