"""How commands reach the store.

Commands that only look never make a store: a file that is not there stays so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from durable.cli.errors import EXIT_STORE, Failed
from durable.cli.walking import quiet
from durable.errors import UsageError

if TYPE_CHECKING:
    from durable.client import Client
    from durable.store import Store


def sqlite_path(url: str) -> str | None:
    """The file of a SQLite store; None for other stores, and for an address that is wrong."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0]
    if scheme != "sqlite" or not place.startswith("/"):
        return None
    return unquote(place[1:]) or None


@contextmanager
def store_at(url: str) -> Iterator[Store]:
    """The store, not opened, and closed afterwards."""
    from durable.stores import open_store

    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def client_at(
    url: str, *, create: bool = False, alone: bool = False, modules: Sequence[str] = ()
) -> Iterator[Client]:
    """A client; with ``create``, a store that is not there is made. ``alone``: the command
    needs no other process, so that a store in memory will do. modules: names of those whose
    workflows it knows."""
    from durable.client import Client

    if url.startswith("memory:") and not alone:
        raise UsageError(
            f"{url} is gone when its process ends, and no other process sees it: use "
            "sqlite:///durable.db"
        )
    path = sqlite_path(url)
    with store_at(url) as store:  # first, so that a wrong option in the address is named
        if not create and path is not None and not os.path.exists(path):
            raise missing(url)
        check_schema(store, create=create)
        store.open()
        yield Client(store, modules=loaded(modules))


def loaded(modules: Sequence[str]) -> list[ModuleType]:
    """The modules with these names, without what they print."""
    if not modules:
        return []
    from durable.loading import load_module

    with quiet():
        return [load_module(name) for name in modules]


def check_schema(store: Store, *, create: bool) -> None:
    """Refuse a store whose schema does not fit, and unless ``create``, one without any."""
    have, want = store.schema()
    if have == 0 and not create:
        raise missing(store.url)
    if have > want:
        raise Failed(
            f"the store at {store.url} has schema {have}; this version knows up to {want}",
            "use a newer version of durable",
            EXIT_STORE,
        )
    if 0 < have < want:
        raise Failed(
            f"the store at {store.url} has schema {have}; this version needs {want}",
            "`durable store migrate` brings it up to date (--dry-run shows how)",
            EXIT_STORE,
        )


def missing(url: str) -> Failed:
    """The error for a store that nobody has made yet."""
    return Failed(
        f"there is no store at {url}; run `durable store init`, or let `durable start`, "
        "`durable run` or a worker make one",
        exit_code=EXIT_STORE,
    )
