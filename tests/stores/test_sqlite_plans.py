"""How SQLite reads: query plans, the cost of a claim, batches and payloads of every size."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from durable.model import Instance, Parent, ParentClose, Status
from durable.store import Close, Filter, Start, Step, Verdict
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
from durable.stores.sql_text import BIG, MANY_ROWS, SIZES, Query, Statement
from durable.stores.sqlite import SqliteStore
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    REFUSED,
    FakeWorker,
    a_finished,
    a_message,
    a_next,
    a_step,
    a_task,
    an_instance,
    events,
    look,
    send,
    start,
)

# -- query plans ------------------------------------------------------------------------

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


def plan(store: SqliteStore, statement: Statement, size: int | None = None) -> list[str]:
    """The lines of the plan that tell how tables are read."""
    listed = statement.columns or "{list}" in statement.text
    size = (20 if listed else 0) if size is None else size
    texts = [store._texts.plain(statement, size)]
    if isinstance(statement, Query):
        texts.append(store._texts.packed(statement, size))
    lines: list[str] = []
    for text in texts:
        with sqlite3.connect(store._path) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))
            lines += [row[3].replace("durable_", "") for row in rows.fetchall()]
        connection.close()
    return [line for line in lines if line.startswith(("SCAN", "SEARCH", "USE TEMP"))]


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - {COUNTS}))
def test_no_statement_reads_a_whole_table(store: SqliteStore, name: str) -> None:
    tables = {*store.models.names} - SMALL
    for line in plan(store, STATEMENTS[name]):
        scanned = re.match(r"SCAN (\w+)", line)
        assert not scanned or scanned.group(1) not in tables, line
        aliased = re.match(r"SCAN [itpr]\b", line)
        assert not aliased, line


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        (
            sql_claim.FREE_INSTANCES,
            "SEARCH instances USING COVERING INDEX instances_free"
            " (owner=? AND queue=? AND needs=? AND wake_at>? AND wake_at<?)",
        ),
        (
            sql_claim.OWN_INSTANCES,
            "SEARCH instances USING COVERING INDEX instances_own_due (owner=? AND wake_at<?)",
        ),
        (
            sql_claim.FREE_TASKS,
            "SEARCH tasks USING COVERING INDEX tasks_free"
            " (owner=? AND queue=? AND name=? AND wake_at<?)",
        ),
        (sql_claim.OWNED_TASKS, "SEARCH t USING INDEX tasks_owned (owner=?)"),
        (sql_claim.OWNED_INSTANCES, "SEARCH instances USING INDEX instances_owned (owner=?)"),
        (sql_commit.FENCE, "SEARCH instances USING INDEX instances_uid (uid=?)"),
        (sql_commit.INBOX, "SEARCH inbox USING COVERING INDEX inbox_instance (number=?)"),
        (
            sql_commit.HELD,
            "SEARCH t USING INDEX tasks_key (number=? AND run=? AND command=?)",
        ),
        (
            sql_messages.RECEIPTS,
            "SEARCH r USING PRIMARY KEY (number=? AND message_id=?)",
        ),
        (
            sql_reads.HISTORY,
            "SEARCH history USING INDEX history_key (number=? AND run=?)",
        ),
        (
            sql_clients.ENDED,
            "SEARCH i USING INDEX instances_finished (finished_at<?)",
        ),
        (sql_clients.ENDED, "SEARCH p USING INDEX instances_uid (uid=?)"),
        (
            sql_clients.EVENTS,
            "SEARCH history USING COVERING INDEX history_key (number=?)",
        ),
        (
            sql_workers.WAKE_REFUSED,
            "SEARCH instances USING INDEX instances_listed (status=?)",
        ),
        (
            sql_workers.REFUSED,
            "SEARCH instances USING INDEX instances_listed (status=?)",
        ),
        (
            sql_children.OPEN,
            "SEARCH i USING INDEX instances_open_children (parent_uid=? AND parent_run=?)",
        ),
        (
            sql_control.ADOPT,
            "SEARCH instances USING INDEX instances_open_children (parent_uid=? AND parent_run=?)",
        ),
        (sql_children.PARENTS, "SEARCH p USING INDEX instances_uid (uid=?)"),
    ],
    ids=lambda value: value.split(" (")[0] if isinstance(value, str) else "",
)
def test_a_hot_statement_uses_its_index(
    store: SqliteStore, statement: Statement, line: str
) -> None:
    lines = plan(store, statement)
    assert line in lines
    assert not any("TEMP B-TREE FOR ORDER BY" in other for other in lines)


def test_listings_use_their_index(store: SqliteStore) -> None:
    of_status = [store.models.instances.status == "running"]
    children = [store.models.instances.parent_uid == b"parent"]
    parent = Filter(parent=b"parent", statuses=(Status.RUNNING, Status.FAILED))
    for where, conditions, line in (
        (Filter(), of_status, "SEARCH t1 USING COVERING INDEX instances_listed (status=?)"),
        (Filter(cursor="9-00"), of_status, "SEARCH t1 USING COVERING INDEX instances_listed (sta"),
        (Filter(tag="t", since=1), [], "SEARCH t1 USING PRIMARY KEY (tag=? AND created_at>?)"),
        (
            Filter(cursor="9-00"),
            children,
            "SEARCH t1 USING COVERING INDEX instances_children (parent_uid=? AND (",
        ),
        (
            parent,
            [*children, *sql_reads._statuses(store.models, parent)[0]],
            "SEARCH t1 USING INDEX instances_children (parent_uid=?)",
        ),
    ):
        text, params = sql_reads._keys(store.models, where, conditions)
        with sqlite3.connect(store._path) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", params).fetchall()
        connection.close()
        lines = [row[3].replace("durable_", "") for row in rows]
        assert lines[0].startswith(line)
        assert not any("TEMP" in other for other in lines)


# -- what things cost -------------------------------------------------------------------


class Effort:
    """Counts the steps of SQLite's machine on this thread's connection."""

    def __init__(self, store: SqliteStore) -> None:
        link = store._links.mine()
        assert link.connection is not None
        self.connection = link.connection
        self.steps = 0

    def of(self, work: Callable[[], object]) -> int:
        self.steps = 0
        self.connection.set_progress_handler(self._tick, 10)
        work()
        self.connection.set_progress_handler(None, 0)
        return self.steps

    def _tick(self) -> int:
        self.steps += 1
        return 0


def test_a_claim_costs_the_same_beside_many_that_wait(store: SqliteStore) -> None:
    """Waiting, finished, owned, refused, or due but for other workers' code."""

    def effort() -> tuple[int, int]:
        worker = FakeWorker(store, f"w-{os.urandom(4).hex()}")
        nothing = count.of(worker.claim)
        start(store, os.urandom(4).hex())
        something = count.of(worker.claim)
        store.unregister(worker.id)
        store._write(lambda tx: tx.raw("UPDATE durable_instances SET wake_at = NULL"))
        return nothing, something

    def many(prefix: str, **changes: Any) -> None:
        store.create([an_instance(store, f"{prefix}-{n}", **changes) for n in range(3000)], "raise")

    count = Effort(store)
    effort()
    before = effort()
    many("parked", workflow="parked", start_at=store.now() + HOUR)
    many("foreign", workflow="foreign")
    many("ended", queue="ended")
    ender = FakeWorker(store, "ender", queues=("ended", "owned"))
    while claimed := ender.claim().instances:
        ender.commit(*(a_step(one, end=COMPLETED) for one in claimed))
    many("owned", queue="owned")
    while claimed := ender.claim().instances:
        later = store.now() + HOUR
        ender.commit(
            *(a_step(one, tasks=[a_task(store, name="foreign")], wake_at=later) for one in claimed)
        )
    refuser = FakeWorker(store, "refuser")
    for prefix, version in (("resting", None), ("tried", 1)):
        if version:  # somebody may try these, so they are due
            FakeWorker(store, "other", build="build-2", workflows=("flow@1",))
        many(prefix)
        while claimed := refuser.claim().instances:
            refuser.commit(*(a_step(one, end=REFUSED, version=version) for one in claimed))
        assert (look(store, f"{prefix}-7").wake_at is None) == (version is None)
    many("future", start_at=store.now() + HOUR)
    after = effort()
    # A little more, for four more ranges to jump over; reading 3000 rows would be thousands.
    assert after[0] <= before[0] + 100
    assert after[1] <= before[1] + 100


def ran(store: SqliteStore, work: Callable[[], object]) -> list[str]:
    """The statements between BEGIN and COMMIT, by their first two words."""
    connection = store._links.mine().connection
    assert connection is not None
    texts: list[str] = []
    connection.set_trace_callback(texts.append)
    work()
    connection.set_trace_callback(None)
    begin = texts.index("BEGIN IMMEDIATE")
    return [" ".join(text.split()[:2]) for text in texts[begin + 1 : texts.index("COMMIT")]]


def test_what_an_ordinary_commit_runs(store: SqliteStore) -> None:
    """An activity has ended, and the next one is scheduled: of one instance, and of many."""
    start(store, *(f"i-{n}" for n in range(65)))
    worker = FakeWorker(store)
    claimed = worker.claim().instances
    first = [a_task(store, 1, owner="w-1")]
    worker.commit(*(a_step(one, tasks=first) for one in claimed))
    second = [a_task(store, 2, owner="w-1")]
    steps = [
        Step(one.instance.uid, 1, 1, 1, [b"two"], done=[(1, 1)], tasks=second) for one in claimed
    ]
    for some in (steps[:1], steps[1:]):
        texts = ran(store, lambda some=some: worker.commit(*some))  # type: ignore[misc]
        assert texts == [
            "WITH packed",  # the fence
            "WITH packed",  # the inbox
            "WITH packed",  # the tasks
            "DELETE FROM",
            "INSERT INTO",
            "INSERT INTO",
            'UPDATE "durable_instances"',
        ]
    assert store.stats().tasks_running == 65


def children(store: SqliteStore, parent: Instance, count: int, close: ParentClose) -> list[Start]:
    """Children of the present run."""
    who = Parent(parent.uid, parent.id, parent.run, 1, close)
    return [
        Start(an_instance(store, os.urandom(8).hex(), queue="children", parent=who), "s", b"taken")
        for _ in range(count)
    ]


CLOSE = Close("close", b"cancelled", b"terminated", "the parent has ended")


def test_children_cost_no_statements_each(store: SqliteStore) -> None:
    """Starting them, telling of their ends, and closing them: of a few and of many."""

    def statements(count: int) -> list[int]:
        start(store, f"parent-{count}")
        worker = FakeWorker(store, f"w-{count}")
        nursed = FakeWorker(store, f"n-{count}", queues=("children",))
        claimed = worker.take()
        several = children(store, claimed.instance, count, ParentClose.ABANDON)
        first = a_step(claimed, starts=several)
        costs = [len(ran(store, lambda: worker.commit(first)))]
        told = replace(COMPLETED, reply=b"end")
        ends = [a_step(one, end=told) for one in nursed.claim().instances]
        costs.append(len(ran(store, lambda: nursed.commit(*ends))))
        claimed = worker.take()
        assert len(claimed.messages) == count
        for close in (ParentClose.CANCEL, ParentClose.TERMINATE):
            several += children(store, claimed.instance, count, close)
        last = a_step(claimed, starts=several[count:], end=COMPLETED, close=CLOSE)
        costs.append(len(ran(store, lambda: worker.commit(last))))
        assert len(nursed.claim().instances) == count
        return costs

    assert statements(2) == statements(128)


def test_closing_costs_the_same_beside_many_that_ended(store: SqliteStore) -> None:
    """Children that have ended, were given up, or are somebody else's."""

    def effort() -> int:
        claimed = worker.take()
        several = children(store, claimed.instance, 3, ParentClose.TERMINATE)
        instance = worker.advance(claimed, starts=several)
        step = a_step(instance, close=CLOSE, next=a_next(store))
        cost = count.of(lambda: worker.commit(step))
        assert look(store, several[0].new.id).status is Status.TERMINATED
        return cost

    start(store)
    worker = FakeWorker(store)
    count = Effort(store)
    effort()
    before = effort()
    claimed = worker.take()
    many = children(store, claimed.instance, 1000, ParentClose.ABANDON)
    many += children(store, claimed.instance, 1000, ParentClose.TERMINATE)
    instance = worker.advance(claimed, starts=many)
    worker.advance(instance, close=CLOSE, next=a_next(store))
    assert effort() <= before + 20


# -- sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, BIG - 1, BIG, BIG + 1, 100_000])
def test_payloads_around_the_limit_of_packing(store: SqliteStore, length: int) -> None:
    payload = os.urandom(length)
    uid = start(store, args=payload, kwargs=payload)
    send(store, "m-1", event=payload)
    worker = FakeWorker(store)
    claimed = worker.take()
    assert (claimed.instance.args, claimed.instance.kwargs) == (payload, payload)
    assert claimed.messages[0].event == payload
    worker.advance(claimed, events=[payload, b"", payload], tasks=[a_task(store, args=payload)])
    assert events(store, uid) == [payload, b"", payload]
    assert worker.take_task().args == payload


@pytest.mark.parametrize("count", [MANY_ROWS, MANY_ROWS + 1])
def test_rows_around_the_limit_of_packing(store: SqliteStore, count: int) -> None:
    uid = start(store)
    worker = FakeWorker(store)
    many = [b"%d" % n for n in range(count)]
    worker.advance(worker.take(), events=many, release=True)
    assert events(store, uid) == many
    store.send([a_message("i-1", f"m-{n}") for n in range(count)])
    claimed = worker.take()
    assert [message.message_id for message in claimed.messages] == [f"m-{n}" for n in range(count)]
    worker.finish(claimed)


@pytest.mark.parametrize("count", [*SIZES, *(size + 1 for size in SIZES), 999, 1001])
def test_batches_of_every_size(store: SqliteStore, count: int) -> None:
    ids = [f"i-{n}" for n in range(count)]
    uids = [one.uid for one in store.create([an_instance(store, id) for id in ids], "raise")]
    worker = FakeWorker(store)
    claimed = worker.claim().instances
    claimed += worker.claim().instances
    first = [a_step(one, tasks=[a_task(store, 1, owner="w-1")]) for one in claimed]
    assert worker.commit(*first) == [COMMITTED] * count
    second = [Step(one.instance.uid, 1, 1, 1, [b"two", b"three"], done=[(1, 1)]) for one in claimed]
    assert worker.commit(*second) == [COMMITTED] * count
    assert {len(history) for history in store.history([(uid, 1) for uid in uids])} == {3}
    assert store.stats().tasks_running == 0


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_families_of_every_size(store: SqliteStore, count: int) -> None:
    """A list is filled up to one of the sizes: nobody is told, or closed, twice."""
    start(store, *(f"i-{n}" for n in range(count)))
    worker = FakeWorker(store)
    nursed = FakeWorker(store, "nurse", queues=("children",))
    steps = [
        a_step(one, starts=children(store, one.instance, 3, ParentClose.TERMINATE))
        for one in worker.claim().instances
    ]
    assert worker.commit(*steps) == [COMMITTED] * count
    ends = [
        a_step(one, end=replace(COMPLETED, reply=b"end")) for one in nursed.claim(count).instances
    ]
    assert nursed.commit(*ends) == [COMMITTED] * count
    for step in steps:
        step.epoch, step.history_length, step.starts = 1, 1, []
        step.messages = [message.id for message in store.inbox(step.uid)]
        step.end, step.close = COMPLETED, CLOSE
    assert worker.commit(*steps) == [COMMITTED] * count
    counts = store.stats().instances
    assert (counts["completed"], counts["terminated"]) == (2 * count, 2 * count)


def test_one_lost_task_in_a_large_batch(store: SqliteStore) -> None:
    store.create([an_instance(store, f"i-{n}") for n in range(600)], "raise")
    worker = FakeWorker(store)
    claimed = worker.claim().instances
    tasks = [[a_task(store, n, owner="w-1") for n in (1, 2)] for _ in claimed]
    worker.commit(*(a_step(one, tasks=new) for one, new in zip(claimed, tasks, strict=True)))
    steps = [
        Step(one.instance.uid, 1, 1, 1, [b"two"], done=[(1, 1), (2, 2 if n == 555 else 1)])
        for n, one in enumerate(claimed)
    ]
    verdicts = worker.commit(*steps)
    assert [n for n, verdict in enumerate(verdicts) if verdict is Verdict.LOST] == [555]
    [left] = [one for n, one in enumerate(claimed) if n == 555]
    assert [task.command for task in store.tasks(left.instance.uid)] == [1, 2]
    assert store.stats().tasks_running == 2


def test_a_fan_out_is_not_read_when_one_of_it_ends(store: SqliteStore) -> None:
    start(store)
    worker = FakeWorker(store)
    many = [a_task(store, n, owner="w-1") for n in range(5000)]
    instance = worker.advance(worker.take(), tasks=many)
    count = Effort(store)
    step = a_step(instance, done=[(77, 1)])
    assert count.of(lambda: worker.commit(step)) < 200


# -- listings ---------------------------------------------------------------------------


def test_a_listing_by_a_common_and_by_a_rare_prefix(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(store, *(f"i-{n}" for n in range(20)), "j-1", "\U0010ffff", "\ud7ff")
    for few in (sql_reads.FEW, 3):
        monkeypatch.setattr(sql_reads, "FEW", few)
        for prefix, count in (("i-", 20), ("j", 1), ("k", 0), ("\U0010ffff", 1), ("\ud7ff", 1)):
            assert len(store.instances(Filter(prefix=prefix)).rows) == count


def test_status_counts_come_from_an_index(store: SqliteStore) -> None:
    a_finished(store, "done")
    start(store, "new")
    counts = store.stats().instances
    assert {status: n for status, n in counts.items() if n} == {"completed": 1, "pending": 1}
    assert set(counts) == {status.value for status in Status}
