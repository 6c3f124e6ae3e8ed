"""Transactions in which an activity writes and its result is recorded.

Rules
-----
* They are on connections of their own: the activity may use the store as everybody does.
* If the application has given its Peewee database, that is what the activity writes with, in a
  transaction that is begun and committed here.
* The result is the last that is written, on the terms of `sql_borrowed`: the rows of instances
  are locked only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from peewee import Database, PeeweeException

from durable.errors import OutcomeUnknown
from durable.store import Completion
from durable.stores.errors import CommitFailed
from durable.stores.sql_borrowed import Borrowed
from durable.stores.sql_results import finish

if TYPE_CHECKING:
    from durable.stores.sql import SqlStore

__all__ = ["transact"]


def transact(store: SqlStore, worker: str, work: Callable[[Any], Completion]) -> bool:
    """See `durable.store.Store.transact`."""
    begin = store.begin() if store.shared is None else _shared(store.shared, store.begins)
    try:
        with begin as connection:
            done = work(connection)
            if not Borrowed(store, connection).run(lambda tx: finish(tx, worker, done)):
                raise _Lost
    except _Lost:
        return False
    except CommitFailed as failed:
        raise store.translated(failed.error, at_commit=True) from failed.error
    except store.dialect.errors.caught as error:
        raise store.translated(error, at_commit=False) from error
    except PeeweeException as error:
        raise OutcomeUnknown(f"{store.url}: {error}") from error
    return True


@contextmanager
def _shared(database: Database, begins: str) -> Iterator[Database]:
    """A transaction of the application's database. begins: how it does, for Peewee."""
    connected: Any = database.connection_context() if database.is_closed() else nullcontext()
    with connected, database.atomic(begins):
        yield database


class _Lost(Exception):
    """The task is somebody else's."""
