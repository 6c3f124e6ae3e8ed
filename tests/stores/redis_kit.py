"""A Redis server of one's own, for the tests of the Redis store."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def redis_server(folder: Path, *options: str, port: int = 0) -> Iterator[int]:
    """A server with its files in this folder; gives its port (a free one, if none is given)."""
    program = shutil.which("redis-server")
    assert program, "redis-server is not installed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = port or int(free.getsockname()[1])
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    quiet = ["--appendonly", "yes", "--save", "", "--logfile", str(folder / "log")]
    server = subprocess.Popen([*command, *quiet, *options])
    try:
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.01)
        yield port
    finally:
        server.kill()
        server.wait()
