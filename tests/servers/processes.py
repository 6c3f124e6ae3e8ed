"""Processes of servers: their user, their folder, and that none is left behind."""

from __future__ import annotations

import atexit
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers import guard

# A server that was asked to stop and has not after these seconds is killed.
GRACE = 10.0

# Below the range from which the kernel takes ports for connections: there, a client that
# tries again while its server is down may connect to itself, and then holds the port.
PORTS = range(10_000, 22_000)
# A node of a Redis Cluster speaks to the others on the port that is so much higher.
BUS = 10_000

# PostgreSQL and MariaDB refuse to run as root, or ask to be told twice.
USERS = ("postgres", "mysql", "nobody")

# Debian has servers where an ordinary user's PATH does not look.
FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/usr/bin")
VERSIONED = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")


def program(name: str) -> str | None:
    """The full path of a program; the newest, of those that are installed by version."""
    versions = [str(path) for pattern in VERSIONED for path in Path("/").glob(pattern)]
    versions.sort(key=lambda path: [int(part) for part in re.findall(r"\d+", path)], reverse=True)
    folders = [os.environ.get("PATH", ""), *FOLDERS, *versions]
    return shutil.which(name, path=os.pathsep.join(folders))


def free_port() -> int:
    """A port of 127.0.0.1 that is free, as is the one for its bus."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(PORTS)
        try:
            for number in (port, port + BUS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


class Session:
    """The folder of this process's servers, and the guard that outlives it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.started: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="durable-servers-", dir=_open_to_all()))
        # Only to pass through: the servers' own folders are closed to others.
        self.folder.chmod(0o711)
        self.guard = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def watch(self, popen: subprocess.Popen[bytes]) -> None:
        self.started.append(popen)
        assert self.guard.stdin is not None
        self.guard.stdin.write(f"{popen.pid} {guard.born(popen.pid)}\n".encode())

    def end(self) -> None:
        """What the guard does at the latest, now."""
        assert self.guard.stdin is not None
        self.guard.stdin.close()
        self.guard.wait()
        for popen in self.started:
            popen.wait()


def _open_to_all() -> str | None:
    """Root's folder for temporary files, if the servers' user can get there."""
    usual = Path(tempfile.gettempdir()).resolve()
    closed = [one for one in (usual, *usual.parents) if not one.stat().st_mode & 0o001]
    return "/tmp" if os.geteuid() == 0 and closed else None


_session: Session | None = None


def session() -> Session:
    """The one of this process: with pytest-xdist each worker has its own."""
    global _session
    if _session is None:
        _session = Session()
        atexit.register(_end, _session)
    return _session


def _end(ended: Session) -> None:
    # A fork inherits what is to be done at the exit.
    if ended.owner == os.getpid():
        ended.end()


def make_folder(name: str, within: Path | None = None) -> Path:
    """A new folder that belongs to the user of the servers, and is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=within or session().folder))
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def _user() -> pwd.struct_passwd | None:
    """The user to run servers as; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {one.pw_name: one for one in pwd.getpwall()}
    for name in USERS:
        if name in known:
            return known[name]
    raise RuntimeError(f"no user to run servers as: root needs one of {', '.join(USERS)}")


def user_name() -> str:
    user = _user() or pwd.getpwuid(os.geteuid())
    return user.pw_name


class Process:
    """A program in its own folder, and all the processes that it starts."""

    def __init__(self, command: Sequence[str], folder: Path, port: int = 0) -> None:
        self.command = list(command)
        self.folder = folder
        self.port = port
        self.log = folder / "log"
        self.is_frozen = False
        # What it finds in its environment beside the usual.
        self.environment: dict[str, str] = {}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = program(self.command[0])
        if path is None:
            raise FileNotFoundError(f"{self.command[0]} is not installed")
        user: dict[str, Any] = {}
        if (as_whom := _user()) is not None:
            user = {"user": as_whom.pw_uid, "group": as_whom.pw_gid, "extra_groups": []}
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [path, *self.command[1:]],
                cwd=self.folder,
                # Not PGDATA or MYSQL_HOME, which mean the servers of whoever runs the tests.
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LC_ALL": "C",
                    "TMPDIR": str(self.folder),
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
                **user,
            )
        session().watch(self._popen)
        self.is_frozen = False

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pids(self) -> list[int]:
        """The program's own first."""
        return guard.family(self._popen.pid) if self._popen is not None and self.alive else []

    def kill(self) -> None:
        if self._popen is not None and self.alive:
            guard.kill(self._popen.pid)
            self._popen.wait()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and kill what has not after a while."""
        if self._popen is None or not self.alive:
            return
        self.thaw()
        self._popen.send_signal(number)
        try:
            self._popen.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def freeze(self) -> None:
        if self._popen is not None and self.alive:
            guard.freeze(self._popen.pid)
            self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        # The children first: a parent that runs may end them, and give their numbers back.
        guard.send(self.pids[::-1], signal.SIGCONT)

    def run(self) -> None:
        """Start it and wait for its end, which must be a good one."""
        self.start()
        assert self._popen is not None
        if self._popen.wait() != 0:
            raise RuntimeError(f"{self.command[0]} failed:\n{self.last_words()}")

    def last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-40:])
