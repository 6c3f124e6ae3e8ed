"""Promise 9 and the reads: the clock, the schema, single rows, listings and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from durable.model import Status
from durable.store import Filter, Store
from durable.testing.store_contract.base import (
    COMPLETED,
    DEADLOCK,
    HOUR,
    SECOND,
    Base,
    FakeWorker,
    a_finished,
    a_task,
    an_instance,
    look,
    schedule,
    send,
    start,
)

YEAR_2020 = 1_577_836_800 * SECOND


class Reads(Base):
    # -- the store itself ---------------------------------------------------------------

    def test_the_clock_is_in_microseconds(self, store: Store, other: Store) -> None:
        first = store.now()
        assert isinstance(first, int)
        assert YEAR_2020 < first < 4 * YEAR_2020
        assert first <= store.now() <= other.now() + SECOND

    def test_an_opened_store_has_its_schema(self, store: Store) -> None:
        stored, wanted = store.schema()
        assert stored == wanted > 0
        assert store.migrate() == []
        assert store.migrate(dry_run=True) == []
        assert store.schema() == (stored, wanted)

    def test_opening_again_changes_nothing(self, store: Store, other: Store) -> None:
        start(store)
        before = look(store)
        store.open()
        other.open()
        assert look(other) == look(store) == before

    def test_a_closed_store_can_be_used_again(self, store: Store) -> None:
        start(store)
        before = look(store)
        store.close()
        store.close()
        assert look(store) == before
        assert start(store, "i-2")

    def test_a_store_says_where_it_is_and_how_large(self, store: Store) -> None:
        assert "://" in store.url
        assert store.size() >= 0

    # -- one instance -------------------------------------------------------------------

    def test_what_does_not_exist(self, store: Store) -> None:
        uid = b"nobody's uid    "
        assert store.instance("absent") is None
        assert store.instance("") is None
        assert (store.inbox(uid), store.tasks(uid), store.unread(uid)) == ([], [], ())
        assert store.history([(uid, 1)]) == [[]]
        assert store.workers() == []

    def test_histories_come_in_the_order_asked_for(self, store: Store) -> None:
        uids = [start(store, id) for id in ("i-1", "i-2", "i-3")]
        worker = FakeWorker(store)
        for claimed in worker.claim().instances[:2]:
            worker.advance(claimed, events=[claimed.instance.id.encode()])
        keys = [(uid, 1) for uid in uids]
        known = dict(zip(keys, store.history(keys), strict=True))
        assert sorted(len(found) for found in known.values()) == [0, 1, 1]
        asked = [keys[2], keys[0], (uids[1], 2), keys[1], (uids[0], 0), keys[2]]
        assert store.history(asked) == [known.get(key, []) for key in asked]
        assert store.history([]) == []

    def test_tasks_come_by_command(self, store: Store) -> None:
        uid = start(store)
        schedule(FakeWorker(store), *(a_task(store, n) for n in (11, 2, 300, 1)))
        assert [task.command for task in store.tasks(uid)] == [1, 2, 11, 300]

    # -- listings -----------------------------------------------------------------------

    def listed(self, store: Store, **where: Any) -> list[str]:
        page = store.instances(Filter(**where))
        assert page.cursor is None
        assert store.count(Filter(**where)) == len(page.rows)
        return sorted(instance.id for instance in page.rows)

    def test_a_listing_gives_rows_newest_first(self, store: Store) -> None:
        ids = [f"i-{n}" for n in range(5)]
        for id in ids:
            start(store, id)
        rows = store.instances(Filter()).rows
        assert rows == [look(store, row.id) for row in rows]
        assert sorted(row.id for row in rows) == ids
        self.check_order(rows)

    def check_order(self, rows: Sequence[Any]) -> None:
        places = [(row.created_at, row.uid) for row in rows]
        assert places == sorted(places, reverse=True)

    def test_an_empty_listing(self, store: Store) -> None:
        assert store.instances(Filter()).rows == []
        assert store.instances(Filter(prefix="x")).cursor is None

    def test_filters(self, store: Store) -> None:
        start(store, "a", workflow="f-1", queue="q-1", tags=("red", "blue"))
        start(store, "b", workflow="f-2", queue="q-1", tags=("red",))
        start(store, "c", workflow="f-1", queue="q-2")
        start(store, "d", workflow="F-1", queue="Q-1", tags=("Red", "re", "blue "))
        assert self.listed(store) == ["a", "b", "c", "d"]
        assert self.listed(store, workflow="f-1") == ["a", "c"]
        assert self.listed(store, queue="q-1") == ["a", "b"]
        assert self.listed(store, tag="red") == ["a", "b"]
        assert self.listed(store, tag="blue") == ["a"]
        assert self.listed(store, tag="r%") == []
        assert self.listed(store, workflow="f-1", queue="q-1", tag="red") == ["a"]
        assert self.listed(store, workflow="absent") == []

    def test_filter_by_status(self, store: Store) -> None:
        a_finished(store, "done")
        a_finished(store, "failed", status=Status.FAILED)
        start(store, "blocked")
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=DEADLOCK, release=True)
        start(store, "running")
        worker.advance(worker.take())
        start(store, "pending")
        assert self.listed(store, statuses=(Status.COMPLETED,)) == ["done"]
        assert self.listed(store, statuses=(Status.RUNNING, Status.FAILED)) == ["failed", "running"]
        assert self.listed(store, statuses=(Status.BLOCKED, Status.PENDING)) == [
            "blocked",
            "pending",
        ]
        assert self.listed(store, statuses=(Status.TERMINATED,)) == []

    def test_filter_by_creation(self, store: Store) -> None:
        start(store)
        at = look(store).created_at
        assert self.listed(store, since=at - SECOND, until=at + SECOND) == ["i-1"]
        assert self.listed(store, since=at) == ["i-1"]
        assert self.listed(store, since=at + 1) == []
        assert self.listed(store, until=at - 1) == []

    def test_filter_by_prefix_is_literal(self, store: Store) -> None:
        ids = [
            "a%1",
            "a%2",
            "ab1",
            "a_1",
            "A%1",
            "a\\1",
            "a",
            "xa",
            "é1",
            "e1",
            "a'1",
            "a*1",
            "a[b]",
        ]
        start(store, *ids)
        for prefix in ("a%", "a_", "A", "a\\", "a'", "a*", "a[", "é", "a", "", "ab1", "ab1x"):
            expected = sorted(id for id in ids if id.startswith(prefix))
            assert self.listed(store, prefix=prefix) == expected

    def test_pages_are_disjoint_and_complete(self, store: Store) -> None:
        new = [an_instance(store, f"i-{n}", tags=("even",) if n % 2 else ()) for n in range(25)]
        store.create(new, "use")
        wheres: list[tuple[dict[str, Any], int]]
        wheres = [({}, 25), ({"prefix": "i-1"}, 11), ({"tag": "even"}, 12)]
        for where, total in wheres:
            for limit in (1, 4, 5, 25, 100):
                rows = self.pages(store, limit=limit, **where)
                assert len(rows) == total
                assert store.count(Filter(**where, limit=limit, cursor=rows[0].id)) == total
                assert len({row.id for row in rows}) == total
                self.check_order(rows)

    def pages(self, store: Store, **where: Any) -> list[Any]:
        page = store.instances(Filter(**where))
        rows = list(page.rows)
        while page.cursor is not None:
            assert len(page.rows) == where["limit"]
            page = store.instances(Filter(**where, cursor=page.cursor))
            assert page.rows != []
            rows += page.rows
        return rows

    def test_a_cursor_is_stable_while_rows_come_and_go(self, store: Store, other: Store) -> None:
        a_finished(store, *(f"i-{n}" for n in range(12)))
        everything = [row.id for row in store.instances(Filter()).rows]
        page = store.instances(Filter(limit=4))
        seen = [row.id for row in page.rows]
        while page.cursor is not None:
            start(other, f"new-{len(seen)}")
            store.delete(seen[-1])
            page = other.instances(Filter(limit=4, cursor=page.cursor))
            seen += [row.id for row in page.rows]
        # What came later is newer, so it stands before the first page; with a clock that
        # stands still it may come among the others, which must all be there once.
        assert [id for id in seen if not id.startswith("new")] == everything
        assert len(seen) == len(set(seen))

    # -- counts -------------------------------------------------------------------------

    def test_counts_of_nothing(self, store: Store) -> None:
        stats = store.stats()
        assert set(stats.instances.values()) <= {0}
        assert (stats.tasks_waiting, stats.tasks_running, stats.messages) == (0, 0, 0)
        assert (stats.workers, stats.oldest_wake_at) == (0, None)

    def test_counts(self, store: Store) -> None:
        a_finished(store, "done-1", "done-2")
        start(store, "running")
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2), a_task(store, 3, owner="w-1")]
        worker.advance(worker.take(), tasks=tasks)
        send(store, "m-1", "running")
        send(store, "m-2", "running")
        due = store.now() - HOUR
        start(store, "pending-1", start_at=due)
        start(store, "pending-2")
        stats = store.stats()
        counts = {status: n for status, n in stats.instances.items() if n}
        assert counts == {"completed": 2, "running": 1, "pending": 2}
        assert (stats.tasks_waiting, stats.tasks_running) == (2, 1)
        assert (stats.messages, stats.workers) == (2, 1)
        assert stats.oldest_wake_at == due

    def test_what_was_taken_is_not_counted(self, store: Store) -> None:
        start(store)
        send(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        assert store.stats().messages == 0
        worker.finish(instance, COMPLETED)
        stats = store.stats()
        assert (stats.tasks_waiting, stats.tasks_running, stats.oldest_wake_at) == (0, 0, None)

    @pytest.mark.parametrize("count", [0, 1, 1000])
    def test_reads_of_any_size(self, store: Store, count: int) -> None:
        uids = [start(store, f"i-{n}") for n in range(min(count, 3))]
        keys = [(uids[n % 3 % len(uids)], n % 5) for n in range(count)] if uids else []
        assert store.history(keys) == [[]] * count
