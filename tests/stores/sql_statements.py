"""All statements of the SQL stores, and tables that are large enough to tell their plans apart."""

from __future__ import annotations

from durable.stores import (
    sql_children,
    sql_claim,
    sql_clients,
    sql_commit,
    sql_control,
    sql_messages,
    sql_reads,
    sql_results,
    sql_rows,
    sql_runs,
    sql_workers,
)
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Statement
from durable.stores.sql_tx import Tx

MODULES = (
    sql_children,
    sql_claim,
    sql_clients,
    sql_commit,
    sql_control,
    sql_messages,
    sql_reads,
    sql_results,
    sql_rows,
    sql_runs,
    sql_workers,
)
SMALL = {"workers", "settings", "migration"}
"""Tables that are read whole."""

COUNTS = "sql_reads.BY_STATUS.0"
"""What counts all there is."""


def statements() -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            several = value if isinstance(value, list) else [value]
            for n, one in enumerate(several):
                if isinstance(one, Statement):
                    found[f"{module.__name__.rpartition('.')[2]}.{name}.{n}"] = one
    return found


STATEMENTS = statements()

# -- large tables -----------------------------------------------------------------------

ROWS = 20_000
OWNED = ROWS // 10
"""Instances that the worker ``w-0`` owns."""

SERIES = {
    "postgresql": f"generate_series(1, {ROWS}) AS g (n)",
    "mysql": f"(SELECT seq AS n FROM seq_1_to_{ROWS}) AS g",
}
BYTES = {"postgresql": "::bytea", "mysql": ""}
LATER = 9_000_000_000_000_000

# A quarter each: due, later, waiting for nothing that time brings, ended.
FILL = (
    """
    INSERT INTO {instances} (uid, id, token, workflow, version, needs, queue, wake_at, created_at,
        history_length, run, status, owner, epoch, crashes, blocked_by, reason, finished_at,
        parent_uid, parent_run)
    SELECT ('u' || n){bytes}, 'i' || n, ('t' || n){bytes}, 'flow', NULL, 'flow', 'default',
        CASE mod(n, 4) WHEN 0 THEN n WHEN 1 THEN {later} + n END, n, 1, 1,
        CASE mod(n, 4) WHEN 3 THEN 'completed' ELSE 'running' END,
        CASE WHEN mod(n, 10) = 0 THEN 'w-0' ELSE '' END, 1, 0, '', '',
        CASE mod(n, 4) WHEN 3 THEN n END, ('p' || (n - mod(n, 10))){bytes}, 1
    FROM {series}
    """,
    """
    INSERT INTO {payloads} (number, args, tags, unread) SELECT number, '', '', '' FROM {instances}
    """,
    "INSERT INTO {history} (number, run, seq, event) SELECT number, 1, 0, '' FROM {instances}",
    """
    INSERT INTO {inbox} (number, message_id, arrived_at, event)
    SELECT number, 'm' || number, 1, '' FROM {instances}
    """,
    "INSERT INTO {receipts} (number, message_id) SELECT number, 'm' || number FROM {instances}",
    "INSERT INTO {tags} (tag, created_at, uid) SELECT 'red', created_at, uid FROM {instances}",
    """
    INSERT INTO {tasks} (number, run, command, name, queue, args, options, owner, epoch, wake_at,
        attempt, crashes, cancel_requested, scheduled_at)
    SELECT number, 1, 1, 'act', 'default', '', '',
        CASE WHEN mod(number, 4) = 0 THEN 'w-0' ELSE '' END, 1, number, 1, 0, 0, 1 FROM {instances}
    """,
)


def fill(store: SqlStore) -> None:
    """Put `ROWS` rows in each table that may be large."""
    kind = store.dialect.name
    names = dict(store.models.names, series=SERIES[kind], bytes=BYTES[kind], later=LATER)
    texts = [text.format(**names) for text in FILL]

    def work(tx: Tx) -> None:
        for text in texts:
            tx.do(text)

    store._write(work)
