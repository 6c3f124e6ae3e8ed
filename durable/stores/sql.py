"""The SQL store: the verbs of the contract as transactions of functions over `Tx`.

What a verb does stands in ``sql_clients``, ``sql_control``, ``sql_messages``, ``sql_workers``,
``sql_claim``, ``sql_commit``, ``sql_results`` and ``sql_reads``.  This file runs them: it opens
transactions, repeats those that did not succeed, turns errors into ours by the table in
``errors``, and tells who waits.
What a database does in its own way is in a `Dialect` and in the methods that a subclass
gives: see ``sqlite``.  The same functions write in transactions of applications: see
``sql_borrowed``.

Two strengths of COMMIT
-----------------------
What a client or a step wrote is acknowledged, so it must be on the disk (``durable``).  A
claim, a heartbeat, a registration, a takeover need not be: the next commit of a step syncs
the whole log before it, so a crash that takes them takes nothing that was built on them, and
what was claimed is claimed again.  They are written, not synced.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

from peewee import Database

from durable.errors import DurableError, OutcomeUnknown, StoreError, UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.store import (
    DEFAULT_MAX_INBOX,
    Beat,
    Claimed,
    ClaimRequest,
    Close,
    Completion,
    Created,
    Filter,
    Intake,
    Message,
    NewInstance,
    NextRun,
    Outgoing,
    Owned,
    Page,
    Postponed,
    Sent,
    Step,
    Store,
    TaskKey,
    Verdict,
)
from durable.stores import (
    migrations,
    sql_claim,
    sql_clients,
    sql_commit,
    sql_control,
    sql_messages,
    sql_reads,
    sql_results,
    sql_secret,
    sql_workers,
)
from durable.stores.errors import CommitFailed, Kind, text_of
from durable.stores.schema import Schema
from durable.stores.sql_borrowed import Borrowed
from durable.stores.sql_text import Dialect, Texts
from durable.stores.sql_transact import transact
from durable.stores.sql_tx import Tx

__all__ = ["SqlStore"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.005


class SqlStore(Store):
    """A store in an SQL database.

    schema: see `Schema`. patience: seconds for which a transaction is repeated that could not
    get its locks. shared: the Peewee database that the application has given (see
    `open_store`). While it has a transaction open in a thread, requests of clients there are
    part of it, and so are reads.
    """

    shared: Database | None = None
    speaks_sql = True
    transactional = True

    def __init__(
        self,
        url: str,
        database: Database,
        dialect: Dialect,
        prefix: str,
        *,
        schema: str | None = None,
        max_inbox: int = DEFAULT_MAX_INBOX,
        patience: float,
    ) -> None:
        self.url = url
        self.dialect = dialect
        self.models = Schema(database, prefix, dialect, schema)
        self.max_inbox = max_inbox
        self.texts = Texts(dialect, self.models.names)
        self._patience = patience
        self._secret: bytes | None = None

    # -- what a database does in its own way --------------------------------------------

    @abstractmethod
    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        """Run a function in one transaction; if it raises, nothing is stored.

        Errors of COMMIT itself are wrapped in `CommitFailed`.
        """

    @abstractmethod
    def _look(self, work: Callable[[Tx], T]) -> T:
        """Run a function that only reads. Each of its statements sees a state of its own."""

    @abstractmethod
    def _distrust(self) -> None:
        """Close this thread's connection."""

    @abstractmethod
    def _alone(self, work: Callable[[Tx], T]) -> T:
        """Run a function that changes the schema, as the only one who does."""

    @abstractmethod
    def _script(self, statements: Sequence[str]) -> list[str]:
        """The statements of a migration for somebody else to run, who is alone with that, too."""

    def _before_tables(self, tx: Tx) -> list[str]:
        """The statements for what has to be there before any table can be."""
        return []

    @abstractmethod
    def _changed(self) -> None:
        """Tell who waits in this process."""

    @abstractmethod
    def borrow(self, connection: Any) -> Any:
        """A cursor of our own on a connection of an application.

        Raises `UsageError` if it is not of our driver, or has no transaction open.
        """

    @abstractmethod
    def begin(self) -> AbstractContextManager[Any]:
        """A transaction for an activity, on a connection that is not our thread's; it is committed
        at the end of the block, or rolled back. Errors of COMMIT are `CommitFailed`."""

    begins: ClassVar[str] = "READ COMMITTED"
    """How such transactions begin, as Peewee takes it."""

    def lock_to_write(self, cursor: Any) -> None:
        """In a transaction of an application: what has to be locked before anything is read."""

    def tell_at_commit(self, cursor: Any) -> None:
        """In a transaction of an application: let its commit tell who waits, without waiting for
        anybody."""

    # -- running verbs ------------------------------------------------------------------

    def _write(self, work: Callable[[Tx], T], *, durable: bool = True) -> T:
        if self._joined():
            raise UsageError(
                "in a transaction of the application a client starts, signals, cancels and looks;"
                " do this after its commit"
            )
        told = True

        def noticing(tx: Tx) -> T:
            nonlocal told
            result = work(tx)
            told = tx.tell
            return result

        result = self._persist(lambda: self._transact(noticing, durable=durable))
        if told:
            self._changed()
        return result

    def _read(self, work: Callable[[Tx], T]) -> T:
        joined = self._joined()
        if joined is not None:
            return joined.run(work, writes=False)
        return self._persist(lambda: self._look(work))

    def _joined(self) -> Borrowed | None:
        """The transaction that the application has open here on the database it has given."""
        shared = self.shared
        if shared is None or not shared.in_transaction():
            return None
        return Borrowed(self, shared)

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Run a transaction, again and again if it is to be repeated, while patience lasts."""
        give_up: float | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                return attempt()
            except CommitFailed as failed:
                error, at_commit = failed.error, True
            except self.dialect.errors.caught as raised:
                error, at_commit = raised, False
            give_up = give_up or time.monotonic() + self._patience
            if self._give_up(error, at_commit, time.monotonic() >= give_up):
                raise self.translated(error, at_commit) from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _give_up(self, error: BaseException, at_commit: bool, late: bool) -> bool:
        action = self.dialect.errors.action(error)
        if action.drop:
            self._distrust()
        return late or not action.redo

    def translated(self, error: BaseException, at_commit: bool) -> DurableError:
        kind, action = self.dialect.errors.kind(error), self.dialect.errors.action(error)
        raises = action.at_commit if at_commit else action.raises
        text = text_of(error)
        if kind is Kind.RETRY_TXN:
            text += f" (for {self._patience:g} seconds)"
        if raises is OutcomeUnknown:
            text += "; it is not known whether the commit took effect"
        return raises(f"{self.url}: {text}")

    # -- the schema ---------------------------------------------------------------------

    def open(self) -> None:
        stored, wanted = self.schema()
        migrations.refuse_newer(stored, self.url)
        if stored < wanted:
            self.migrate()
        self.secret()  # which transactions that begin now are to see

    def schema(self) -> tuple[int, int]:
        stored = self._read(lambda tx: migrations.stored_version(tx, self.models, self.dialect))
        return stored, migrations.WANTED

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        statements = self._read(self._pending) if dry_run else self._migrated()
        return self._script(statements) if statements else []

    def _pending(self, tx: Tx) -> list[str]:
        statements = migrations.pending(tx, self.models, self.dialect, self.url)
        return self._before_tables(tx) + statements if statements else []

    def _migrated(self) -> list[str]:
        def work(tx: Tx) -> list[str]:
            statements = self._pending(tx)
            for text in statements:
                tx.do(text)
            return statements

        try:
            statements = self._alone(work)
        except StoreError as error:
            if error.__cause__ is None or not self.dialect.errors.denied(error.__cause__):
                raise
            raise StoreError(
                f"{error}; this user may not change the schema: run `durable store migrate` as one"
                " who may, or have the statements run that `durable store migrate --dry-run --sql`"
                " prints"
            ) from error.__cause__
        self.secret()
        return statements

    def erase(self) -> None:
        """Drop its tables, with all that is in them."""
        names = self.models.names.values()

        def work(tx: Tx) -> None:
            for name in names:
                tx.do(f"DROP TABLE IF EXISTS {name}")

        self._write(work)
        self._secret = None

    def secret(self) -> bytes:
        if self._secret is None:
            self._secret = self._read(sql_secret.stored) or self._write(sql_secret.make)
        return self._secret

    # -- clients ------------------------------------------------------------------------

    def using(self, connection: Any) -> Intake:
        return Borrowed(self, connection)

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        joined = self._joined()
        if joined is not None:
            return joined.create(new, if_exists)
        return self._write(lambda tx: sql_clients.create(tx, new, if_exists))

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        joined = self._joined()
        if joined is not None:
            return joined.send(messages)
        return self._write(lambda tx: sql_messages.send(tx, messages, self.max_inbox))

    def terminate(
        self,
        id: str,
        message_id: str,
        event: bytes,
        reason: str,
        reply: bytes | None = None,
        close: Close | None = None,
    ) -> Sent:
        what = (id, message_id, event, reason, reply, close)
        return self._write(lambda tx: sql_control.terminate(tx, *what))

    def pause(self, id: str, message_id: str, event: bytes) -> Sent:
        return self._write(lambda tx: sql_control.pause(tx, id, message_id, event))

    def resume(self, id: str, message_id: str, event: bytes) -> Sent:
        return self._write(lambda tx: sql_control.resume(tx, id, message_id, event))

    def unblock(self, id: str, message_id: str) -> Sent:
        return self._write(lambda tx: sql_control.unblock(tx, id, message_id))

    def rerun(self, id: str, message_id: str, run: int, next: NextRun) -> Sent:
        return self._write(lambda tx: sql_control.rerun(tx, id, message_id, run, next))

    def delete(self, id: str) -> Sent | None:
        return self._write(lambda tx: sql_clients.delete(tx, id))

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        return self._write(lambda tx: sql_clients.purge(tx, finished_before, statuses, limit))

    # -- workers ------------------------------------------------------------------------

    def register(self, worker: WorkerInfo) -> None:
        self._write(lambda tx: sql_workers.register(tx, worker), durable=False)

    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        return self._write(lambda tx: sql_workers.heartbeat(tx, worker, lease), durable=False)

    def beat(self, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
        if all(one.details is None for one in beats):  # nothing to keep: no lock
            return self._read(lambda tx: sql_results.to_cancel(tx, worker))
        return self._write(lambda tx: sql_results.beat(tx, worker, beats), durable=False)

    def unregister(self, worker: str) -> None:
        self._write(lambda tx: sql_workers.unregister(tx, worker), durable=False)

    def take_over(self, workers: Sequence[str] | None) -> int:
        if workers is None and not self._read(sql_workers.expired):
            return 0
        return self._write(lambda tx: sql_workers.take_over(tx, workers), durable=False)

    def block_unknown(self, worker: WorkerInfo, after: int) -> int:
        if not self._read(lambda tx: sql_workers.unknown(tx, worker)):
            return 0
        return self._write(lambda tx: sql_workers.block_unknown(tx, worker, after), durable=False)

    def claim(self, request: ClaimRequest) -> Claimed:
        # Looking takes no lock: a worker that finds nothing stands in nobody's way.
        due = self._read(lambda tx: sql_claim.look(tx, request))
        if not due.anything:
            return Claimed([], [], due.next_wake_at)
        return self._write(lambda tx: sql_claim.claim(tx, request, due), durable=False)

    def owned(self, worker: str) -> Owned:
        return self._read(lambda tx: sql_claim.owned(tx, worker))

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        return self._write(lambda tx: sql_claim.adopt(tx, worker, uids, tasks), durable=False)

    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        self._write(lambda tx: sql_claim.release(tx, worker, uids), durable=False)

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        if not steps:
            return []
        return self._write(lambda tx: sql_commit.commit(tx, worker, steps, self.max_inbox))

    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[Verdict]:
        return self._write(lambda tx: sql_results.complete(tx, worker, completions, postponed))

    def transact(self, worker: str, work: Callable[[Any], Completion]) -> bool:
        done = transact(self, worker, work)
        if done:
            self._changed()
        return done

    def settle(self, completion: Completion) -> Sent:
        return self._write(lambda tx: sql_results.settle(tx, completion))

    # -- reads --------------------------------------------------------------------------

    def instance(self, id: str) -> Instance | None:
        return self._read(lambda tx: sql_reads.instance(tx, id))

    def instances(self, where: Filter) -> Page:
        return self._read(lambda tx: sql_reads.instances(tx, self.models, where))

    def count(self, where: Filter) -> int:
        return self._read(lambda tx: sql_reads.count(tx, self.models, where))

    def history(self, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
        return self._read(lambda tx: sql_reads.history(tx, keys))

    def inbox(self, uid: bytes) -> list[Message]:
        return self._read(lambda tx: sql_reads.inbox(tx, uid))

    def unread(self, uid: bytes) -> tuple[str, ...]:
        return self._read(lambda tx: sql_reads.unread(tx, uid))

    def tasks(self, uid: bytes) -> list[Task]:
        return self._read(lambda tx: sql_reads.tasks(tx, uid))

    def workers(self) -> list[WorkerInfo]:
        return self._read(sql_reads.workers)

    def stats(self) -> Stats:
        return self._read(lambda tx: sql_reads.stats(tx, self.models))
