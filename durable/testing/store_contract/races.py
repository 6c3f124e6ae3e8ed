"""Promises 2 to 6 under real concurrency: threads on two stores, let go at one moment.

Each race is run over and over, and what must hold is checked however it was decided.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from durable.errors import InstanceAlreadyExists
from durable.model import ParentClose, Status
from durable.store import ClaimedInstance, Completion, Sent, Step, Store, Verdict
from durable.testing.store_contract.base import (
    CLOSE,
    COMMITTED,
    COMPLETED,
    HOUR,
    LOST,
    PATIENCE,
    REPLY,
    SECOND,
    UNSEEN,
    Base,
    FakeWorker,
    a_child,
    a_completion,
    a_family,
    a_message,
    a_step,
    a_task,
    an_info,
    an_instance,
    end_of,
    events,
    inbox,
    look,
    nurse,
    pause,
    schedule,
    send,
    start,
    terminate,
)

ROUNDS = 10

BUSY = Verdict.BUSY


def race(*runners: Callable[[], Any]) -> list[Any]:
    """Run these at once, each in a thread; what they returned, or the first error."""
    barrier = threading.Barrier(len(runners))
    results: dict[int, Any] = {}
    errors: list[BaseException] = []

    def run(n: int, runner: Callable[[], Any]) -> None:
        try:
            barrier.wait(PATIENCE)
            results[n] = runner()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(n, runner), daemon=True)
        for n, runner in enumerate(runners)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    for error in errors:
        raise error
    return [results[n] for n in range(len(runners))]


def commit(worker: FakeWorker, *steps: Step) -> list[Verdict]:
    """Commit steps, each again while a row of it is in somebody else's hands."""
    verdicts = worker.commit(*steps)
    while BUSY in verdicts:
        again = iter(worker.commit(*(s for s, v in zip(steps, verdicts, strict=True) if v is BUSY)))
        verdicts = [next(again) if verdict is BUSY else verdict for verdict in verdicts]
    return verdicts


def report(store: Store, done: list[Completion]) -> list[Verdict]:
    """Report results of tasks of ``w-1``, again while an instance is in somebody's hands."""
    verdicts = store.complete("w-1", done, [])
    while BUSY in verdicts:
        verdicts = store.complete("w-1", done, [])
    return verdicts


def take(worker: FakeWorker) -> ClaimedInstance:
    """Claim the only instance that is due, as soon as nobody else has it in his hands."""
    claimed = worker.claim(tasks=0).instances
    while not claimed:
        claimed = worker.claim(tasks=0).instances
    [one] = claimed
    return one


class Races(Base):
    def test_claimers_share_what_is_due(self, store: Store, other: Store) -> None:
        ids = [f"i-{n}" for n in range(200)]
        start(store, *ids)
        workers = [FakeWorker((store, other)[n % 2], f"w-{n}") for n in range(4)]

        def claim(worker: FakeWorker) -> list[str]:
            taken: list[str] = []
            while some := worker.claim(instances=9).instances:
                assert all(one.instance.owner == worker.id for one in some)
                assert all(one.instance.epoch == 1 for one in some)
                taken += [one.instance.id for one in some]
            return taken

        taken = race(*(partial(claim, worker) for worker in workers))
        assert Counter(id for some in taken for id in some) == Counter(ids)
        for worker, some in zip(workers, taken, strict=True):
            assert len(store.owned(worker.id).instances) == len(some)

    def test_claimers_share_tasks(self, store: Store, other: Store) -> None:
        start(store, *(f"i-{n}" for n in range(60)))
        first, second = FakeWorker(store, "w-1"), FakeWorker(other, "w-2")
        for claimed in first.claim().instances:
            first.advance(claimed, tasks=[a_task(store, n) for n in range(3)], release=True)

        def claim(worker: FakeWorker) -> list[object]:
            taken: list[object] = []
            while some := worker.claim(tasks=7).tasks:
                taken += [(task.uid, task.command) for task in some]
            return taken

        taken = race(partial(claim, first), partial(claim, second))
        assert len(taken[0] + taken[1]) == len(set(taken[0] + taken[1])) == 180

    def test_one_of_two_creators_wins(self, store: Store, other: Store) -> None:
        def create(at: Store, id: str) -> bytes | None:
            try:
                return at.create([an_instance(at, id)], "raise")[0].uid
            except InstanceAlreadyExists:
                return None

        for n in range(ROUNDS):
            id = f"i-{n}"
            results = race(partial(create, store, id), partial(create, other, id))
            assert results.count(None) == 1
            assert look(store, id).uid in results

    def test_creators_who_share_agree(self, store: Store, other: Store) -> None:
        def create(at: Store, id: str) -> tuple[bytes, bool]:
            [created] = at.create([an_instance(at, id)], "use")
            return created.uid, created.new

        for n in range(ROUNDS):
            id = f"i-{n}"
            results = race(partial(create, store, id), partial(create, other, id))
            assert {uid for uid, _ in results} == {look(store, id).uid}
            assert sorted(new for _, new in results) == [False, True]

    def test_a_repeated_request_at_the_same_time(self, store: Store, other: Store) -> None:
        for n in range(ROUNDS):
            ids = self.together(*(f"i-{n}-{m}" for m in range(3)))
            new = [an_instance(store, id) for id in ids]
            first, second = race(
                partial(store.create, new, "raise"), partial(other.create, new, "raise")
            )
            assert first == second
            assert [one.uid for one in first] == [one.uid for one in new]

    def test_one_of_two_restarts_wins(self, store: Store, other: Store) -> None:
        def restart(at: Store) -> int | None:
            try:
                return at.create([an_instance(at)], "restart")[0].run
            except InstanceAlreadyExists:
                return None

        start(store)
        worker = FakeWorker(store)
        for run in range(1, ROUNDS):
            worker.finish(worker.take())
            results = race(partial(restart, store), partial(restart, other))
            assert sorted(results, key=str) == [run + 1, None]

    def test_a_message_meets_an_end(self, store: Store, other: Store) -> None:
        """Each message that was accepted is in the history; the others were refused."""

        def end(worker: FakeWorker) -> None:
            verdict = UNSEEN
            while verdict is UNSEEN:
                claimed = take(worker)
                told = [message.event for message in claimed.messages]
                step = a_step(claimed, events=[*told, b"end"], end=COMPLETED)
                [verdict] = commit(worker, step)
            assert verdict is COMMITTED

        def sender(id: str) -> list[Sent]:
            return [send(other, f"m-{n}", id) for n in range(8)]

        worker = FakeWorker(store)
        for n in range(ROUNDS):
            id = f"i-{n}"
            uid = start(store, id)

            _, outcomes = race(partial(end, worker), partial(sender, id))
            accepted = [b"m-%d" % m for m, sent in enumerate(outcomes) if sent is Sent.SENT]
            assert outcomes == [Sent.SENT] * len(accepted) + [Sent.FINISHED] * (8 - len(accepted))
            assert events(store, uid) == [*accepted, b"end"]
            assert inbox(store, uid) == []

    def test_a_message_meets_a_release(self, store: Store, other: Store) -> None:
        """An instance that is parked with a message is due."""
        worker = FakeWorker(store)
        for n in range(ROUNDS):
            id = f"i-{n}"
            uid = start(store, id)
            claimed = worker.take()
            race(
                partial(commit, worker, a_step(claimed, release=True)),
                partial(other.send, [a_message(id)]),
            )
            again = worker.take()
            assert (again.instance.uid, len(again.messages)) == (uid, 1)
            worker.finish(again)

    def test_messages_of_each_sender_keep_their_order(self, store: Store, other: Store) -> None:
        uid = start(store)

        def sender(at: Store, name: str) -> list[Sent]:
            return [send(at, f"{name}-{n}") for n in range(25)]

        outcomes = race(
            partial(sender, store, "a"), partial(sender, other, "b"), partial(sender, store, "c")
        )
        assert {sent for some in outcomes for sent in some} == {Sent.SENT}
        ids = [id for id, _ in inbox(store, uid)]
        assert len(ids) == 75
        for name in "abc":
            assert [id for id in ids if id[0] == name] == [f"{name}-{n}" for n in range(25)]

    def test_a_message_is_delivered_twice_at_the_same_time(
        self, store: Store, other: Store
    ) -> None:
        uid = start(store)
        for n in range(ROUNDS):
            id = f"m-{n}"
            outcomes = race(partial(send, store, id), partial(send, other, id))
            assert outcomes == [Sent.SENT, Sent.SENT]
            assert len(inbox(store, uid)) == n + 1

    def test_a_result_is_reported_twice_at_the_same_time(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        for n in range(ROUNDS):
            uid = start(store, f"i-{n}")
            schedule(worker)
            done = [a_completion(worker.take_task())]
            told = race(partial(report, store, done), partial(report, other, done))
            assert told == [[COMMITTED], [COMMITTED]]
            assert len(inbox(store, uid)) == 1
            worker.finish(worker.take())

    def test_a_commit_meets_a_takeover(self, store: Store, other: Store) -> None:
        """Either the step came first and is in the history, or it was lost; then the next
        owner's step stands alone."""

        def take_over(dead: str, quick: FakeWorker) -> list[Verdict]:
            while not other.take_over([dead]):
                pass  # the row is in the hands of the commit
            return commit(quick, a_step(take(quick), events=[b"quick"], release=True))

        for n in range(ROUNDS):
            uid = start(store, f"i-{n}")
            slow = FakeWorker(store, f"slow-{n}")
            claimed = slow.take()
            quick = FakeWorker(other, f"quick-{n}")

            slow_step = a_step(claimed, events=[b"slow"])
            verdicts, quick_verdicts = race(
                partial(commit, slow, slow_step), partial(take_over, slow.id, quick)
            )
            assert quick_verdicts == [COMMITTED]
            expected = [b"slow", b"quick"] if verdicts == [COMMITTED] else [b"quick"]
            assert verdicts in ([COMMITTED], [LOST])
            assert events(store, uid) == expected

    def test_a_commit_meets_a_terminate(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        for n in range(ROUNDS):
            id = f"i-{n}"
            uid = start(store, id)
            step = a_step(worker.take(), events=[b"step"], end=COMPLETED)
            verdicts, sent = race(partial(commit, worker, step), partial(terminate, other, id))
            if verdicts == [COMMITTED]:
                assert sent is Sent.FINISHED
                assert events(store, uid) == [b"step"]
                assert look(store, id).status is Status.COMPLETED
            else:
                assert (verdicts, sent) == ([LOST], Sent.SENT)
                assert events(store, uid) == [b"terminated"]
                assert look(store, id).status is Status.TERMINATED

    def test_a_commit_meets_a_pause(self, store: Store, other: Store) -> None:
        """Either the step came first and is in the history, or it was lost."""
        worker = FakeWorker(store)
        for n in range(ROUNDS):
            id = f"i-{n}"
            uid = start(store, id)
            claimed = worker.take()
            first = worker.advance(claimed, events=[b"first"])
            step = a_step(first, events=[b"step"])
            verdicts, sent = race(partial(commit, worker, step), partial(pause, other, id))
            stored = [b"step"] if verdicts == [COMMITTED] else []
            assert sent is Sent.SENT
            assert verdicts in ([COMMITTED], [LOST])
            assert look(store, id).status is Status.PAUSED
            assert events(store, uid) == [b"first", *stored, b"paused"]

    def test_an_attempt_is_settled_while_it_ends(self, store: Store, other: Store) -> None:
        """One result is stored, and whoever was late is told so."""
        worker = FakeWorker(store)
        for n in range(ROUNDS):
            uid = start(store, f"i-{n}")
            schedule(worker)
            task = worker.take_task()
            done = a_completion(task, message_id="outside", event=b"outside")
            [verdict], sent = race(
                partial(report, store, [a_completion(task)]), partial(other.settle, done)
            )
            held = verdict is COMMITTED
            assert (held, sent) in ((True, Sent.FINISHED), (False, Sent.SENT))
            assert [event for _, event in inbox(store, uid)] == [b"result" if held else b"outside"]
            worker.finish(worker.take())

    def test_one_of_two_starters_wins(self, store: Store, other: Store) -> None:
        """The other one is told that the id is in use."""
        for n in range(ROUNDS):
            id = f"child-{n}"
            start(store, f"a-{n}", f"b-{n}")
            workers = [FakeWorker(at, f"w-{n}-{at is store}") for at in (store, other)]
            claimed = [worker.claim(instances=1).instances[0] for worker in workers]
            steps = [a_step(one, starts=[a_child(store, one, id)]) for one in claimed]
            commits = zip(workers, steps, strict=True)
            verdicts = race(*(partial(commit, worker, step) for worker, step in commits))
            assert verdicts == [[COMMITTED], [COMMITTED]]
            uid = look(store, id).uid
            for step in steps:
                told = [] if step.starts[0].new.uid == uid else [(f"start:{id}", b"taken")]
                assert inbox(store, step.uid) == told

    def test_the_end_of_a_child_meets_the_end_of_its_parent(
        self, store: Store, other: Store
    ) -> None:
        """The child is told, or the parent was; both have ended in the end."""

        def end(worker: FakeWorker, step: Step) -> Verdict:
            [verdict] = commit(worker, step)
            return verdict

        for n in range(ROUNDS):
            start(store, f"i-{n}")
            worker, nursed = FakeWorker(store, f"w-{n}"), nurse(other, f"n-{n}")
            parent = a_family(worker, f"child-{n}", close=ParentClose.TERMINATE)
            child = nursed.take()
            above, below = race(
                partial(end, worker, a_step(parent, end=COMPLETED, close=CLOSE)),
                partial(end, nursed, a_step(child, end=REPLY)),
            )
            status = look(store, f"child-{n}").status
            if above is UNSEEN:
                assert (below, status) == (COMMITTED, Status.COMPLETED)
                assert inbox(store, parent.uid) == [end_of(child.instance)]
            else:
                assert above is COMMITTED
                assert inbox(store, parent.uid) == []
                ended = {COMMITTED: Status.COMPLETED, LOST: Status.TERMINATED}
                assert status is ended[below]

    def test_a_heartbeat_meets_a_takeover(self, store: Store, other: Store) -> None:
        """What expired is taken over or not, but its heartbeat never says it lives."""
        for n in range(ROUNDS):
            store.register(an_info(store, f"w-{n}", lease=-SECOND))
            beat, taken = race(
                partial(store.heartbeat, f"w-{n}", HOUR), partial(other.take_over, None)
            )
            assert (beat, taken) == (None, 1)

    def test_a_takeover_happens_once(self, store: Store, other: Store) -> None:
        for n in range(ROUNDS):
            start(store, f"i-{n}")
            FakeWorker(store, f"w-{n}", lease=-SECOND).take()
            taken = race(partial(store.take_over, None), partial(other.take_over, None))
            assert sorted(taken) == [0, 1]
            assert look(store, f"i-{n}").crashes == 1
            worker = FakeWorker(store, f"x-{n}")
            worker.finish(worker.take())

    def test_a_claim_meets_a_takeover_of_the_claimer(self, store: Store, other: Store) -> None:
        """Whatever it claims is given back, or it claims nothing: nothing stays with it."""
        for n in range(ROUNDS):
            start(store, f"i-{n}")
            worker = FakeWorker(store, f"w-{n}", lease=-SECOND)
            race(worker.ids, partial(other.take_over, None))
            assert look(store, f"i-{n}").owner == ""
            final = FakeWorker(store, f"x-{n}")
            final.finish(final.take())

    def test_many_workers_advance_many_instances(self, store: Store, other: Store) -> None:
        """Every step of every instance is there once, however the claims fell."""
        uids = [start(store, f"i-{n}") for n in range(20)]

        def work(worker: FakeWorker) -> None:
            while some := worker.claim(instances=3).instances:
                steps = [self.sixth_ends(worker.store, claimed) for claimed in some]
                assert commit(worker, *steps) == [COMMITTED] * len(steps)

        workers = [FakeWorker((store, other)[n % 2], f"w-{n}") for n in range(6)]
        race(*(partial(work, worker) for worker in workers))
        work(FakeWorker(store, "last"))
        for uid in uids:
            assert events(store, uid) == [b"event-%d" % n for n in range(6)]

    def sixth_ends(self, store: Store, claimed: ClaimedInstance) -> Step:
        if claimed.instance.history_length < 5:
            return a_step(claimed, release=True, wake_at=store.now() - SECOND)
        return a_step(claimed, end=COMPLETED)
