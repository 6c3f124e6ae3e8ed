"""What all servers have in common: where they are, and their going up and down."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from servers.guard import POLL
from servers.processes import Process, make_folder, program

# Seconds until a server accepts, on a machine that has much else to do.
PATIENCE = 60.0


class Server(ABC):
    """A server on ``127.0.0.1`` and its folder, until `close`; or one that others run."""

    title: ClassVar[str]
    # The environment variable that may name another server.
    variable: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    package: ClassVar[str]
    driver: ClassVar[str]
    driver_package: ClassVar[str]
    # What makes it end soon and in good order.
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, url: str = "") -> None:
        """Make it ready to be started.

        url: of a server that others run: it is used, and never started or stopped.
        """
        self.is_ours = not url
        self.processes: list[Process] = []
        self.folder = Path()
        self._places: dict[str, str] = {}
        self._shared = ""
        if self.is_ours:
            self.folder = make_folder(self.title.replace(" ", "-").lower())
            url = self.make()
        self.url = url

    # -- what each kind has of its own --------------------------------------------------

    @abstractmethod
    def make(self) -> str:
        """Fill the folder and `processes`; gives the URL."""

    @abstractmethod
    def ping(self) -> None:
        """Raises while the server does not serve."""

    @abstractmethod
    def create(self, name: str) -> str:
        """A new and empty place of that name; gives its URL."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove what `create` made, whoever is connected to it."""

    # -- up and down --------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether all its programs run; they may be frozen."""
        return not self.is_ours or all(process.alive for process in self.processes)

    @property
    def pids(self) -> list[int]:
        """Of all its processes."""
        self._refuse("asked for its processes")
        return [pid for process in self.processes for pid in process.pids]

    def start(self) -> None:
        """Start what does not run, on the same folder and port; gives when it accepts."""
        self._refuse("started")
        for process in self.processes:
            if not process.alive:
                process.start()
        self.await_ready()

    def await_ready(self, ping: Callable[[], None] | None = None) -> None:
        """Ask until it answers; raises what the last try did, or the last words of the server.

        ping: raises while it is not ready. Defaults to `Server.ping`.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return (ping or self.ping)()
            except Exception as error:
                for process in self.processes:
                    if not process.alive:
                        raise RuntimeError(
                            f"{self.title} ended:\n{process.last_words()}"
                        ) from error
                if time.monotonic() > end:
                    raise
            time.sleep(POLL)

    def kill(self) -> None:
        """Kill -9, all its processes; gives when they are gone."""
        self._refuse("killed")
        for process in self.processes:
            process.freeze()
        for process in self.processes:
            process.kill()

    def stop(self) -> None:
        """End it in good order, or kill it if that takes long."""
        self._refuse("stopped")
        for process in self.processes:
            process.stop(self.stop_signal)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, and nobody answers."""
        self._refuse("frozen")
        for process in self.processes:
            process.freeze()

    def thaw(self) -> None:
        self._refuse("thawed")
        for process in self.processes:
            process.thaw()

    def mend(self) -> None:
        """Make it run, if it is ours and does not; costs nothing if it does."""
        if not self.is_ours:
            return
        for process in self.processes:
            if process.is_frozen:
                process.thaw()
        if not self.alive:
            self.start()

    def close(self) -> None:
        """Kill it and remove its folder; in a server of others, remove what was made there."""
        if self.is_ours:
            self.kill()
            if self.folder.exists():
                shutil.rmtree(self.folder)
        else:
            for url in list(self._places):
                self.remove(url)

    def _refuse(self, what: str) -> None:
        if not self.is_ours:
            raise RuntimeError(
                f"{self.variable} names a {self.title} server that is not ours: it cannot be"
                f" {what}; run this test without {self.variable}"
            )

    # -- places in it -------------------------------------------------------------------

    def fresh(self) -> str:
        """The URL of a new and empty place in it."""
        name = f"t{secrets.token_hex(6)}_"
        url = self.create(name)
        self._places[url] = name
        return url

    def fresh_prefix(self) -> str:
        """The URL of a prefix that nobody has, in one place that goes with the server."""
        if not self._shared:
            self._shared = self.fresh()
        return with_prefix(self._shared, f"p{secrets.token_hex(6)}_")

    def remove(self, url: str) -> None:
        """Remove a place that `fresh` made, before the server goes."""
        self.drop(self._places.pop(url))

    # -- whether it can be here ---------------------------------------------------------

    @classmethod
    def missing(cls) -> str:
        """What is missing here, with what to install; empty if nothing is."""
        if not Path("/proc/self/stat").exists():
            return (
                f"{cls.title}: its processes are found in /proc, which is Linux; set {cls.variable}"
            )
        gone = [name for name in cls.programs if program(name) is None]
        if gone:
            return (
                f"{cls.title}: {' and '.join(gone)} not found; as root:"
                f" apt-get install {cls.package}, or set {cls.variable} to a server's URL"
            )
        return cls.missing_driver()

    @classmethod
    def missing_driver(cls) -> str:
        if importlib.util.find_spec(cls.driver) is None:
            install = f"pip install '{cls.driver_package}'"
            return f"{cls.title}: no module {cls.driver}; {install}"
        return ""


def at_path(url: str, path: str) -> str:
    """A URL with another path: another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def as_user(url: str, name: str, password: str) -> str:
    """A URL with another user."""
    parts = urlsplit(url)
    netloc = f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc))


def with_prefix(url: str, prefix: str) -> str:
    """A URL with a prefix, behind the one that it has."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["prefix"] = query.get("prefix", "") + prefix
    return urlunsplit(parts._replace(query=urlencode(query)))
