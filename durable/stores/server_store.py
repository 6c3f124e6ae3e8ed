"""What the stores in database servers share: connections, the server's clock, who waits.

Rules
-----
* The clock of a store is its server's, read when a transaction begins; `ServerClock` has it in
  between.
* What the server does not do for acknowledged changes to last is told when a store is opened.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from peewee import Database

from durable.store import DEFAULT_MAX_INBOX
from durable.stores.server_clock import ServerClock
from durable.stores.server_links import ServerLinks
from durable.stores.server_watch import ServerWatch
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Dialect
from durable.stores.sql_tx import Tx

__all__ = ["DEFAULT_TIMEOUT", "ServerStore"]

logger = logging.getLogger("durable.store")

DEFAULT_TIMEOUT = 10.0


class ServerStore(SqlStore):
    """A store in a database server.

    timeout: seconds after which waiting for a lock is given up. rest: those after which a
    connection that nobody used is not used any more.
    """

    def __init__(
        self,
        url: str,
        database: Database,
        dialect: Dialect,
        prefix: str,
        *,
        timeout: float,
        rest: float = math.inf,
        schema: str | None = None,
        max_inbox: int = DEFAULT_MAX_INBOX,
    ) -> None:
        super().__init__(
            url, database, dialect, prefix, schema=schema, max_inbox=max_inbox, patience=timeout
        )
        self._timeout = timeout
        self._links = ServerLinks(self._connect, rest)
        self._activity_links = ServerLinks(self._connect, rest)
        self._watch = self._make_watch()
        self._clock = ServerClock(lambda: self._persist(self._ask))

    @abstractmethod
    def _connect(self) -> Any:
        """A new connection."""

    @abstractmethod
    def _make_watch(self) -> ServerWatch:
        """What notices changes by others."""

    @abstractmethod
    def _ask(self) -> int:
        """The server's clock."""

    @abstractmethod
    def _weaknesses(self, tx: Tx) -> Sequence[str]:
        """What the server does not do for what is acknowledged to last."""

    def open(self) -> None:
        super().open()
        weak = self._read(self._weaknesses)
        if weak:
            logger.warning(
                "%s: %s: a crash of the server may take what was acknowledged last",
                self.url, ", ".join(weak),
            )  # fmt: skip

    def durability(self) -> str:
        return "prefix" if self._read(self._weaknesses) else "durable"

    def close(self) -> None:
        self._watch.close()
        self._links.close()
        self._activity_links.close()

    def _distrust(self) -> None:
        self._links.drop_mine()

    # -- time and waking ----------------------------------------------------------------

    def now(self) -> int:
        return self._clock.now()

    def mark(self) -> int:
        return self._watch.mark()

    def wait(self, mark: int, timeout: float | None) -> None:
        self._watch.wait(mark, timeout)

    def wake(self) -> None:
        self._watch.change()
