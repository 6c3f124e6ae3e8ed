"""Fresh stores: each scenario, and each ceiling, gets one of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote

from durable.store import Store
from durable.stores import open_store


@runtime_checkable
class Erasable(Protocol):
    """A store that can remove itself from its server."""

    def erase(self) -> None: ...


class Places:
    """Makes fresh stores of the kind of an address.

    url: None means SQLite in the directory for temporary files. The path of a SQLite
    address says on which disk: files are made beside it, and deleted afterwards. In a
    server, tables or keys with a prefix of their own are made, and removed afterwards.
    """

    def __init__(self, url: str | None) -> None:
        self.url = url or f"sqlite:///{tempfile.gettempdir()}/bench.db"
        self.scheme, _, rest = self.url.partition("://")
        path, mark, query = rest.partition("?")
        self._path = unquote(path[1:])
        self._query = mark + query
        self.options = dict(parse_qsl(query))

    @property
    def kind(self) -> str:
        return self.scheme

    @property
    def directory(self) -> str:
        """Where the files are, or nothing if there are none."""
        if self.scheme != "sqlite":
            return ""
        return os.path.dirname(os.path.abspath(self._path))

    @contextmanager
    def fresh(self) -> Iterator[tuple[Store, str]]:
        """An opened, empty store and its address."""
        if self.scheme == "sqlite":
            directory = tempfile.mkdtemp(prefix="durable-bench-", dir=self.directory)
            url = f"sqlite:///{directory}/bench.db{self._query}"
        elif self.scheme == "memory":
            directory, url = "", f"memory://{self._query}"
        else:
            sign = "&" if self._query else "?"
            directory, url = "", f"{self.url}{sign}prefix=bench_{secrets.token_hex(4)}_"
        try:
            store = open_store(url)
            store.open()
            try:
                yield store, url
            finally:
                if isinstance(store, Erasable) and not directory:
                    store.erase()
                store.close()
        finally:
            if directory:
                shutil.rmtree(directory, ignore_errors=True)
