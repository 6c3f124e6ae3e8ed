"""What the tests of the SQLite store share: other processes."""

from __future__ import annotations

import subprocess
import sys

from durable.testing.store_contract.base import PATIENCE


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """Another process, with pipes."""
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str], tell: str = "") -> str:
    """What a process printed; it must end well."""
    out, err = process.communicate(tell, timeout=PATIENCE)
    assert process.returncode == 0, err
    return out
