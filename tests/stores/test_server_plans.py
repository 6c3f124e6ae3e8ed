"""How the database servers read: by indexes, with statistics of now and of when all was empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import servers
from sql_statements import COUNTS, OWNED, SMALL, STATEMENTS, fill

from durable.model import Status
from durable.stores import open_store, sql_claim, sql_clients, sql_commit, sql_messages, sql_rows
from durable.stores.mysql import MysqlStore
from durable.stores.postgresql import PostgresqlStore
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Delete, Statement
from durable.testing.store_contract.base import (
    COMPLETED,
    FakeWorker,
    a_completion,
    a_step,
    a_task,
    look,
    send,
    start,
)

STATISTICS = ["stale", "fresh"]

NOW = 2_000_000
LIMIT = 51


def change(store: SqlStore, text: str) -> None:
    store._write(lambda tx: tx.do(text))


def analyze(store: SqlStore) -> None:
    word = "TABLE" if store.dialect.name == "mysql" else ""
    tables = ", ".join(store.models.names.values())
    change(store, f"ANALYZE {word} {tables}")


def filled(url: str, statistics: str, keep: str) -> Iterator[Any]:
    """A store with large tables. keep: the setting that keeps statistics as they are."""
    store = open_store(url)
    assert isinstance(store, SqlStore)
    store.open()
    for table in store.models.names.values():
        change(store, f"ALTER TABLE {table} {keep}")
    analyze(store)
    fill(store)
    if statistics == "fresh":
        analyze(store)
    yield store
    store.erase()
    store.close()


@pytest.fixture(scope="module", params=STATISTICS)
def postgresql(request: pytest.FixtureRequest) -> Iterator[PostgresqlStore]:
    url = servers.fresh_prefix(servers.postgres())
    yield from filled(url, request.param, "SET (autovacuum_enabled = off)")


@pytest.fixture(scope="module", params=STATISTICS)
def mysql(request: pytest.FixtureRequest) -> Iterator[MysqlStore]:
    url = servers.fresh_prefix(servers.mariadb())
    yield from filled(url, request.param, "STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0")


CLAIMS: list[tuple[Statement, list[object]]] = [
    (sql_claim.INSTANCE_HEADS, ["default"] * 4 + [NOW]),
    (sql_claim.TASK_HEADS, ["default"] * 4 + [NOW]),
    (sql_claim.OWN_HEADS, ["w-0", "w-0", NOW]),
    (sql_claim.FREE_INSTANCES, ["default", "flow", NOW, LIMIT]),
    (sql_claim.FREE_TASKS, ["default", "act", NOW, LIMIT]),
    (sql_claim.OWN_INSTANCES, ["w-0", NOW, LIMIT]),
]
"""What a claim looks at: what is free, and what is the worker's, with parameters."""

HEADS = (sql_claim.INSTANCE_HEADS, sql_claim.TASK_HEADS)

# -- PostgreSQL -------------------------------------------------------------------------


def takes_list(statement: Statement) -> bool:
    """Whether it is for a list of any length."""
    return bool(statement.columns) or isinstance(statement, Delete) or "{list}" in statement.text


def prepared_plan(store: PostgresqlStore, statement: Statement, size: int) -> list[str]:
    """The plan of a statement, whatever its parameters are."""
    connection = store._links.mine()
    text = store.texts.plain(statement, size)
    count = len(re.findall(r"\$\d", text))
    connection.execute("SET plan_cache_mode TO force_generic_plan")
    connection.execute(f"PREPARE one AS {text}")
    try:
        given = f"({', '.join(['NULL'] * count)})" if count else ""
        rows = connection.execute(f"EXPLAIN EXECUTE one{given}").fetchall()
    finally:
        connection.execute("DEALLOCATE one; RESET plan_cache_mode")
    return [line.replace(store.models.prefix, "") for [line] in rows]


def reads_whole(lines: list[str]) -> list[str]:
    """The lines of a plan that read all of a table that may be large."""
    found = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        scan = re.search(r"(Seq|Index|Index Only) Scan .*\bon (\w+)", line)
        if scan and scan.group(2) not in SMALL and "Index Cond" not in following:
            found.append(line)
        if "Hash Join" in line or "Merge Join" in line:
            found.append(line)
    return found


def test_no_statement_of_postgresql_reads_a_whole_table(postgresql: PostgresqlStore) -> None:
    wrong: dict[str, list[str]] = {}
    for name in sorted(STATEMENTS.keys() - {COUNTS}):
        statement = STATEMENTS[name]
        listed = takes_list(statement)
        for size in (1, 64) if listed else (0,):
            lines = prepared_plan(postgresql, statement, size)
            if reads_whole(lines):
                wrong[f"{name} {size}"] = lines
    assert wrong == {}


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        (
            sql_claim.FREE_INSTANCES,
            [
                "Index Scan using instances_free on instances",
                "Index Cond: ((queue = $1) AND (needs = $2) AND (wake_at IS NOT NULL)"
                " AND (wake_at <= $3))",
            ],
        ),
        (
            sql_claim.FREE_TASKS,
            [
                "Index Scan using tasks_free on tasks",
                "Index Cond: ((queue = $1) AND (name = $2) AND (wake_at <= $3))",
            ],
        ),
        (
            sql_claim.OWN_INSTANCES,
            [
                "Index Scan using instances_own_due on instances",
                "Index Cond: ((owner = $1) AND (wake_at <= $2))",
            ],
        ),
        (sql_claim.OWNED_INSTANCES, ["Index Scan using instances_owned on instances"]),
        (sql_commit.FENCE, ["Index Scan using instances_uid on instances"]),
        (sql_commit.INBOX, ["Index Scan using inbox_instance on inbox"]),
        (sql_commit.HELD, ["Index Scan using tasks_key on tasks t"]),
        (sql_messages.RECEIPTS, ["Index Only Scan using receipts_pkey on receipts r"]),
        (sql_rows.INSTANCES, ["Index Scan using payloads_pkey on payloads p"]),
        (sql_clients.ENDED, ["Index Scan using instances_finished on instances i"]),
    ],
    ids=lambda value: value[0].split(" on ")[0] if isinstance(value, list) else "",
)
def test_a_hot_statement_of_postgresql_uses_its_index(
    postgresql: PostgresqlStore, statement: Statement, lines: list[str]
) -> None:
    listed = takes_list(statement)
    found = "\n".join(prepared_plan(postgresql, statement, 1 if listed else 0))
    for line in lines:
        assert line in found
    assert "Sort" not in found


@pytest.mark.parametrize(("statement", "values"), CLAIMS)
def test_a_claim_of_postgresql_reads_a_few_pages(
    postgresql: PostgresqlStore, statement: Statement, values: list[object]
) -> None:
    """An index that is walked from its beginning looks in a plan as one that is jumped into."""
    text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {postgresql.texts.plain(statement, 0)}"
    cursor: Any = psycopg.RawCursor(postgresql._links.mine())
    [[[found]]] = cursor.execute(text, values).fetchall()
    top = found["Plan"]
    pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    if statement is sql_claim.OWN_INSTANCES:  # it may read and sort what the worker owns
        assert pages < OWNED / 2
    else:
        assert pages < 2 * LIMIT
        assert "Sort" not in str(top)


# -- MariaDB ----------------------------------------------------------------------------


@pytest.mark.parametrize(("statement", "values"), CLAIMS)
def test_a_claim_of_mysql_uses_its_index(
    mysql: MysqlStore, statement: Statement, values: list[object]
) -> None:
    text = mysql.texts.plain(statement, 0)
    values = values[-text.count("%s") :] if statement in HEADS else values
    cursor = mysql._cursor()
    plan = cursor.execute(f"EXPLAIN {text}", values).fetchall()
    tables = [row for row in plan if row[2] and not row[2].startswith("<")]
    assert {row[5] for row in tables} <= {"instances_free", "instances_own_due", "tasks_free"}
    assert not [row for row in tables if row[3] in ("ALL", "index")]
    if statement in HEADS:  # what is sorted are the names of ranges
        assert all("Using index for group-by" in row[-1] for row in tables)
    else:
        assert not [row for row in tables if "filesort" in str(row[-1])]
    assert rows_read(mysql, lambda: cursor.execute(text, values).fetchall()) < 2 * LIMIT


def rows_read(store: MysqlStore, work: Callable[[], object]) -> int:
    """How many rows of tables and indexes this thread's session has read for something."""

    def count() -> int:
        text = "SHOW SESSION STATUS LIKE 'Handler_read%'"
        rows = store._cursor().execute(text).fetchall()
        return sum(int(value) for name, value in rows if not name.endswith("_deleted"))

    before = count()
    work()
    return count() - before


def test_a_life_on_mysql_reads_a_few_rows(mysql: MysqlStore) -> None:
    """Claims, commits, results and messages of one instance beside many others."""
    worker = FakeWorker(mysql, queues=("mine",))

    def life() -> None:
        start(mysql, "one", queue="mine")
        claimed = worker.take()
        instance = worker.advance(claimed, tasks=[a_task(mysql, 1, queue="mine")])
        done = a_completion(worker.take_task())
        mysql.complete(worker.id, [done], [])
        send(mysql, "m-1", "one")
        claimed = worker.take()
        worker.commit(a_step(claimed, messages=[one.id for one in claimed.messages], end=COMPLETED))
        assert instance.uid == look(mysql, "one").uid

    assert rows_read(mysql, life) < 300
    assert look(mysql, "one").status is Status.COMPLETED
    mysql.delete("one")
    mysql.unregister(worker.id)
