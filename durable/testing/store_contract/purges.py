"""What a purge takes, and what it leaves: families, batches, and others at work."""

from __future__ import annotations

from functools import partial

import pytest

from durable.model import Status
from durable.purging import count, purge
from durable.store import End, Start, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    REPLY,
    Base,
    FakeWorker,
    a_child,
    a_family,
    a_finished,
    a_next,
    a_step,
    an_instance,
    claim_all,
    end_of,
    events,
    inbox,
    look,
    nurse,
    rerun,
    start,
)
from durable.testing.store_contract.races import race

ALL = [status for status in Status if status.finished]


def no_rest(seconds: float) -> None:
    """Between batches."""


def purge_all(store: Store, batch: int = 100) -> int:
    """Purge whatever has ended, until nothing is left; a count beforehand agrees."""
    expected = count(store, store.now() + HOUR, ALL)
    purged = purge(lambda: store.purge(store.now() + HOUR, ALL, batch), no_rest)
    assert purged == expected
    return purged


class Purges(Base):
    def test_a_live_family_stays_beside_one_that_is_purged(self, store: Store) -> None:
        worker, children = FakeWorker(store), nurse(store)
        for family in ("old", "live"):
            start(store, family, tags=("t",))
            a_family(worker, f"{family}/1", f"{family}/2")
        ends = {c.instance.id: c for c in claim_all(children)}
        for id in ("old/1", "old/2", "live/1"):
            children.finish(ends[id], REPLY)
        old = {claimed.instance.id: claimed for claimed in claim_all(worker)}["old"]
        worker.finish(old)
        assert purge_all(store) == 3
        for id in ("old", "old/1", "old/2"):
            assert store.instance(id) is None
        assert events(store, look(store, "live").uid)
        assert inbox(store, look(store, "live").uid) == [end_of(look(store, "live/1"))]
        assert look(store, "live/2").status is Status.PENDING

    def test_a_child_stays_until_its_parent_has_ended(self, store: Store) -> None:
        start(store)
        worker, children = FakeWorker(store), nurse(store)
        a_family(worker)
        children.finish(children.take(), REPLY)
        assert purge_all(store) == 0
        parent = worker.advance(worker.take())
        assert purge_all(store) == 0
        worker.finish(parent)
        assert purge_all(store) == 2

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    def test_children_stay_while_their_parent_could_be_retried(
        self, store: Store, status: Status
    ) -> None:
        start(store)
        worker, children = FakeWorker(store), nurse(store)
        parent = a_family(worker)
        worker.finish(parent, End(status))
        children.finish(children.take(), REPLY)
        assert count(store, store.now() + HOUR, [Status.COMPLETED]) == 0
        assert store.purge(store.now() + HOUR, [Status.COMPLETED], 100) == 0
        rerun(store)
        assert purge_all(store) == 0  # the new run has not looked it up
        worker.finish(worker.take(), End(status))
        assert purge_all(store) == 2

    def test_children_of_earlier_runs_go_while_their_parent_goes_on(self, store: Store) -> None:
        """Or one that continues as new for ever would keep all its children."""
        start(store)
        worker, children = FakeWorker(store), nurse(store)
        a_family(worker)
        children.finish(children.take(), REPLY)
        for purged in (0, 1):
            claimed = worker.take()
            worker.advance(claimed, next=a_next(store), release=True)
            assert purge_all(store) == purged
        assert store.instance("child") is None
        assert look(store).run == 3

    def test_a_child_of_a_purged_parent_goes_on(self, store: Store) -> None:
        start(store)
        worker, children = FakeWorker(store), nurse(store)
        worker.finish(a_family(worker))
        assert purge_all(store) == 1
        children.finish(children.advance(children.take()), REPLY)
        assert look(store, "child").status is Status.COMPLETED
        assert purge_all(store) == 1

    def test_the_id_of_a_purged_parent_is_another_instance(self, store: Store) -> None:
        start(store)
        worker, children = FakeWorker(store), nurse(store)
        worker.finish(a_family(worker))
        assert purge_all(store) == 1
        uid = start(store)
        children.finish(children.take(), REPLY)
        assert inbox(store, uid) == []
        assert purge_all(store) == 1  # it is no child of that one

    def test_a_deep_family_goes_in_one_purge(self, store: Store) -> None:
        worker = FakeWorker(store)
        start(store, "0")
        for depth in range(1, 6):
            claimed = worker.take()
            child: Start = a_child(store, claimed, str(depth), queue="default")
            worker.advance(claimed, starts=[child])
        held = [look(store, str(depth)) for depth in range(5)]
        worker.finish(worker.take(), End(Status.FAILED))
        assert purge_all(store) == 0
        for instance in held:
            worker.finish(instance, End(Status.FAILED))
        assert purge_all(store, 1) == 6

    def test_a_purge_is_made_of_batches(self, store: Store, other: Store) -> None:
        """What one batch has deleted is gone whatever becomes of the next."""
        a_finished(store, *(f"i-{n}" for n in range(50)))
        for left in (43, 36):
            assert store.purge(store.now() + HOUR, ALL, 7) == 7
            assert sum(other.stats().instances.values()) == left
        assert purge(lambda: other.purge(other.now() + HOUR, ALL, 7), no_rest) == 36

    def test_a_purge_meets_restarts_and_ends(self, store: Store, other: Store) -> None:
        """Nothing that is not ended is ever deleted; whatever is restarted is there."""
        ids = [f"i-{n}" for n in range(60)]
        a_finished(store, *ids)
        worker = FakeWorker(other)

        def restart(at: Store, some: list[str]) -> None:
            for id in some:
                at.create([an_instance(at, id)], "restart")

        def go_on() -> int:
            purged = 0
            for _ in range(40):
                purged += store.purge(store.now() + HOUR, ALL, 3)
            return purged

        def work() -> list[str]:
            ended: list[str] = []
            for _ in range(20):
                for claimed in worker.claim(instances=2).instances:
                    assert worker.commit(a_step(claimed, end=COMPLETED)) == [COMMITTED]
                    ended.append(claimed.instance.id)
            return ended

        _, _, _, ended = race(partial(restart, other, ids[:30]), go_on, go_on, work)
        assert len(set(ended)) == len(ended)
        for id in set(ids[:30]) - set(ended):
            assert not look(store, id).status.finished
        claimed = {one.instance.id for one in claim_all(worker)}
        assert claimed == set(ids[:30]) - set(ended)

    def test_two_purges_at_once_delete_each_instance_once(self, store: Store, other: Store) -> None:
        a_finished(store, *(f"i-{n}" for n in range(100)))

        def all_of(at: Store) -> int:
            return purge(lambda: at.purge(at.now() + HOUR, ALL, 9), no_rest)

        assert sum(race(partial(all_of, store), partial(all_of, other))) == 100
        assert sum(store.stats().instances.values()) == 0
