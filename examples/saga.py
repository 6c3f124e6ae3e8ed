"""A saga: a transfer over three accounts, done whole or taken back, with no transaction around it.

    python examples/saga.py                  # in a temporary directory
    durable run examples/saga.py:transfer '"bank.db"' '{"ann": -30, "ben": 10, "cy": 20}' 3 --id t-1
    durable cancel t-1                       # in a second terminal: it is taken back

The second way waits three seconds after each booking: press Ctrl-C, or kill -9 it, and run it
again.

A booking is made once, however often it is attempted: the activity's idempotency key is its
primary key.  What takes it back is noted before it is made, and does nothing if it was not:
a worker may die, or a cancel come, when nobody can know whether it was.
"""

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from durable import (
    ActivityError,
    Cancelled,
    Orchestrator,
    PermanentError,
    Retry,
    Workflow,
    activity,
    current_activity,
    set_var,
    shield,
    sleep,
    uuid4,
    workflow,
)
from durable.errors import WorkflowCancelledError

TABLE = "bookings (key PRIMARY KEY, transfer, account, cents)"
BOOK = "INSERT OR IGNORE INTO bookings VALUES (?, ?, ?, ?)"


@contextmanager
def bank(path: str) -> Iterator[sqlite3.Connection]:
    """A transaction in the bank; at first each account has 100."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
        for name in ("ann", "ben", "cy"):
            db.execute(BOOK, (f"opening of {name}", "", name, 100))
        yield db
        db.execute("COMMIT")


@activity
def book(path: str, number: str, account: str, cents: int) -> None:
    """Raises `PermanentError` if that cannot be."""
    key = current_activity().idempotency_key
    with bank(path) as db:
        others = "SELECT sum(cents) FROM bookings WHERE account = ? AND key <> ?"
        (balance,) = db.execute(others, (account, key)).fetchone()
        if balance is None:
            raise PermanentError(f"there is no account {account}")
        if balance + cents < 0:
            raise PermanentError(f"{account} has only {balance}")
        db.execute(BOOK, (key, number, account, cents))


@activity(retry=Retry(max_attempts=None))
def take_back(path: str, number: str, account: str) -> None:
    """Never gives up, or the money would be lost."""
    key = current_activity().idempotency_key
    with bank(path) as db:
        booked = "SELECT sum(cents) FROM bookings WHERE transfer = ? AND account = ?"
        (cents,) = db.execute(booked, (number, account)).fetchone()
        if cents:
            db.execute(BOOK, (key, number, account, -cents))


@workflow
def transfer(path: str, bookings: dict[str, int], pause: float = 0) -> Workflow[str]:
    number, begun = str(uuid4()), list[str]()
    try:
        for account, cents in bookings.items():
            begun.append(account)
            yield book.call(path, number, account, cents)
            set_var("booked", len(begun))
            yield sleep(pause)
    except (ActivityError, Cancelled) as error:
        with shield():
            for account in reversed(begun):
                yield take_back.call(path, number, account)
        if isinstance(error, Cancelled):
            raise
        return f"refused: {error.error.message}"
    return "done"


def balances(path: str) -> dict[str, int]:
    with bank(path) as db:
        return dict(db.execute("SELECT account, sum(cents) FROM bookings GROUP BY account"))


def main(path: str) -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        start = here.client.start
        for account in ("cy", "dan"):
            bookings = {"ann": -30, "ben": 10, account: 20}
            print(start(transfer, path, bookings).result(timeout=60), balances(path))
        slow = start(transfer.options(id="slow"), path, {"ann": -30, "ben": 10, "cy": 20}, 3600)
        while slow.vars().get("booked") != 1:
            time.sleep(0.01)
        print("in the middle", balances(path))
        slow.cancel("changed my mind")
        try:
            slow.result(timeout=60)
        except WorkflowCancelledError as error:
            print(error, balances(path))


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        main(str(Path(directory, "bank.db")))
