"""Connections break at a COMMIT: what was done counts, once, and what was not is done again.

For each thing that a client can do, by `Client` and `Handle`; for each verb of a worker, by a
worker at work.  A cut comes before the server is asked to commit, or after it has done so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_kit import (
    CUTTABLE,
    PATIENCE,
    WRITES,
    Campaign,
    Ledger,
    campaign,
    choices,
    count_unknown,
    cut_store,
    patience,
    rounds,
    tap,
    until,
)

from durable import (
    Client,
    Handle,
    Retry,
    Status,
    Worker,
    Workflow,
    activity,
    current_activity,
    external,
    gather,
    send_signal,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import OutcomeUnknown
from durable.store import Store
from durable.testing.store_contract.base import REFUSED, SECOND, FakeWorker, start

CUTS = ("before", "after")

# -- what clients do --------------------------------------------------------------------

Told = tuple[Callable[[], Any], Callable[[Any], object]]
"""A call, and what is to be true of its answer and of the store afterwards."""


@workflow(queue="still")
def still(number: int) -> Workflow[int]:
    """In a queue that is served by hand."""
    yield from ()
    return number


@workflow
def failing() -> Workflow[None]:
    yield from ()
    raise ValueError("always")


@workflow
def promised() -> Workflow[Any]:
    return (yield external())


@activity(retry=None)
def give_away() -> Any:
    tokens[current_activity().instance_id] = current_activity().token
    raise current_activity().complete_later()


tokens: dict[str, str] = {}


@workflow
def later() -> Workflow[Any]:
    return (yield give_away.call())


class Kit:
    """client: by way of the cuts. plain: the same store without; its worker serves the default
    queue, its hand the queue ``still``."""

    def __init__(self, far: Store, plain: Store) -> None:
        self.client = Client(far, deadline=PATIENCE)
        self.plain = plain
        self.looking = Client(plain)
        self.hand = FakeWorker(plain, "hand", queues=("still",), workflows=("still",))

    def started(self, flow: Any, id: str, *args: Any) -> Handle[Any]:
        return self.looking.start(flow.options(id=id), *args)

    def ended(self, id: str) -> Handle[Any]:
        """One that failed."""
        handle = self.started(failing, id)
        until(lambda: handle.status() is Status.FAILED, f"{id} fails")
        return handle

    def inbox(self, id: str) -> int:
        instance = self.plain.instance(id)
        assert instance is not None
        return len(self.plain.inbox(instance.uid))

    def kinds(self, id: str) -> list[str]:
        return [type(event).__name__ for event in self.looking.get(id).history()]

    def row(self, id: str) -> Any:
        found = self.plain.instance(id)
        assert found is not None
        return found


def _start(kit: Kit, id: str) -> Told:
    def check(handle: Handle[Any]) -> None:
        assert handle.new
        assert kit.looking.get(id)._uid == handle._uid
        assert kit.looking.count(search=id) == 1

    return lambda: kit.client.start(still.options(id=id), 1), check


def _start_many(kit: Kit, id: str) -> Told:
    ids = [f"{id}/{n}" for n in range(3)]

    def check(handles: list[Handle[Any]]) -> None:
        assert all(handle.new for handle in handles)
        assert sorted(row.id for row in kit.looking.list(search=f"{id}/").rows) == ids

    return lambda: kit.client.start_many([(still.options(id=one), 1) for one in ids]), check


def _restart(kit: Kit, id: str) -> Told:
    kit.ended(id)
    again = failing.options(id=id, if_exists="restart", queue="still")

    def check(handle: Handle[Any]) -> None:
        assert handle.new
        assert kit.row(id).run == 2

    return lambda: kit.client.start(again), check


def _signal_or_start(kit: Kit, id: str) -> Told:
    def check(handle: Handle[Any]) -> None:
        assert (handle.new, kit.inbox(id)) == (True, 1)

    flow = still.options(id=id)
    return lambda: kit.client.signal_or_start(flow, 1, signal="go", value=1), check


def _signal(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1)
    return lambda: kit.client.signal(id, "go", 1), lambda _: kit.inbox(id) == 1


def _cancel(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1)
    return lambda: kit.client.cancel(id), lambda _: kit.inbox(id) == 1


def _terminate(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1)

    def check(_: None) -> None:
        assert kit.row(id).status is Status.TERMINATED
        assert kit.kinds(id) == ["WorkflowTerminated"]

    return lambda: kit.client.terminate(id, "enough"), check


def _pause(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1)
    epoch = kit.row(id).epoch

    def check(_: None) -> None:
        assert (kit.row(id).status, kit.row(id).epoch) == (Status.PAUSED, epoch + 1)

    return lambda: kit.client.pause(id), check


def _resume(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1).pause()
    epoch = kit.row(id).epoch

    def check(_: None) -> None:
        assert (kit.row(id).status, kit.row(id).epoch) == (Status.PENDING, epoch + 1)

    return lambda: kit.client.resume(id), check


def _unblock(kit: Kit, id: str) -> Told:
    kit.started(still, id, 1)
    [claimed] = [one for one in kit.hand.claim().instances if one.instance.id == id]
    kit.hand.advance(claimed, end=REFUSED, events=[], release=True)

    def check(_: None) -> None:
        row = kit.row(id)
        assert (row.blocked_by, row.wake_at is not None) == ("", True)

    return lambda: kit.client.retry(id), check


def _retry(kit: Kit, id: str) -> Told:
    handle = kit.ended(id)

    def check(_: None) -> None:
        until(lambda: handle.status() is Status.FAILED, "it fails again")
        assert kit.row(id).run == 2

    return lambda: kit.client.retry(id), check


def _fork(kit: Kit, id: str) -> Told:
    kit.started(promised, id)
    until(lambda: "PromiseCreated" in kit.kinds(id), "a promise")

    def check(handle: Handle[Any]) -> None:
        assert handle.new
        assert kit.looking.count(search=f"{id}-fork") == 1

    return lambda: kit.client.fork(id, 1, f"{id}-fork"), check


def _delete(kit: Kit, id: str) -> Told:
    kit.ended(id)
    return lambda: kit.client.delete(id), lambda _: kit.plain.instance(id) is None


def _purge(kit: Kit, id: str) -> Told:
    kit.ended(id)
    old = datetime.now(UTC) + timedelta(hours=1)
    return lambda: kit.client.purge(old), lambda _: kit.plain.instance(id) is None


def _complete(kit: Kit, id: str) -> Told:
    handle = kit.started(promised, id)
    until(lambda: "PromiseCreated" in kit.kinds(id), "a promise")
    token = next(event.token for event in handle.history() if hasattr(event, "token"))

    def check(_: None) -> None:
        assert handle.result(timeout=PATIENCE) == "kept"
        assert kit.kinds(id).count("PromiseCompleted") == 1

    return lambda: kit.client.complete(token, "kept"), check


def _settle(kit: Kit, id: str) -> Told:
    handle = kit.started(later, id)
    until(lambda: [task["state"] for task in handle.describe()["tasks"]]
          == ["awaits completion"], "it waits")  # fmt: skip

    def check(_: None) -> None:
        assert handle.result(timeout=PATIENCE) == "done"
        assert kit.kinds(id).count("ActivityCompleted") == 1

    return lambda: kit.client.complete(tokens[id], "done"), check


KINDS: dict[str, Callable[[Kit, str], Told]] = {
    kind.__name__[1:]: kind
    for kind in (
        *(_start, _start_many, _restart, _signal_or_start, _signal, _cancel, _terminate),
        *(_pause, _resume, _unblock, _retry, _fork, _delete, _purge, _complete, _settle),
    )
}


@pytest.mark.parametrize("store", CUTTABLE)
def test_what_clients_do_is_done_once(store: str, tmp_path: Path) -> None:
    with (
        campaign("unknown-outcome-clients", store) as report,
        cut_store(store, tmp_path, **patience(store)) as (far, cuts, plain),
    ):
        worker = Worker(plain, workflows=[failing, promised, later], activities=[give_away])
        count_unknown(far, report)
        worker.start()
        kit = Kit(far, plain)
        try:
            for number, kind in enumerate(choices(report.chance, [*KINDS], rounds(2, 500))):
                call, check = KINDS[kind](kit, f"{kind}-{number}")
                cuts.cut(CUTS[number % 2])
                answer = call()
                cuts.spare()
                report.figures["ops"] += 1
                report.figures["acked"] += 1
                assert check(answer) is not False, f"{kind}, cut {CUTS[number % 2]}"
                report.figures["resolved"] += 1
        finally:
            cuts.spare()
            worker.stop(0)
        report.faults.update(cuts.hits)
        assert min(cuts.hits["before"], cuts.hits["after"]) >= len(KINDS)


# -- what workers do --------------------------------------------------------------------

CAUSES = {"adopt": "claim"}
"""What must fail first, so that there is something to do."""

TARGETS = (
    *("claim", "commit", "complete", "adopt"),
    *("heartbeat", "beat", "take_over", "block_unknown"),
)

ledger = Ledger()
failed: set[str] = set()
gate = threading.Event()


def note(what: str) -> None:
    me = current_activity()
    ledger.note(me.instance_id, f"{what} {me.idempotency_key} {me.attempt}")


@activity
def echo(value: Any) -> Any:
    note("echo")
    return value


@activity(retry=Retry(max_attempts=3, first_delay=0.001))
def second_time() -> str:
    note("second_time")
    id = current_activity().instance_id
    if id not in failed:
        failed.add(id)
        raise ValueError("once")
    return "second"


@activity
def climb() -> str:
    """Sends heartbeats until the end."""
    while not gate.is_set():
        current_activity().heartbeat(len(ledger))
        gate.wait(0.02)
    return "up"


@workflow
def climbed() -> Workflow[str]:
    return (yield from climb.call())


@workflow
def child(number: int) -> Workflow[int]:
    found: int = yield echo.call(number)
    return found + 1


@workflow
def mixed(number: int, to: str) -> Workflow[list[Any]]:
    """A little of everything."""
    found: list[Any] = [(yield echo.call(number))]
    found += yield gather(*[echo.call(n) for n in range(3)], sleep(0.001))
    found.append((yield second_time.call()))
    found.append((yield child.call(number)))
    yield send_signal(to, "heard", number)
    found.append((yield wait_signal("go")))
    return found


@workflow
def hearing() -> Workflow[int]:
    """Hears of each of the others once."""
    count = 0
    while (yield wait_signal("heard")) >= 0:
        count += 1
    return count


class Plan:
    """Which verb of a worker is to be cut, how often still, and how."""

    def __init__(self, store: Store, cuts: Any, report: Campaign) -> None:
        self._cuts = cuts
        self._chance = report.chance
        self._lock = threading.Lock()
        self.target, self.when, self.left = "", "", 0
        for verb in WRITES:
            tap(store, verb, partial(self._around, verb))

    def _around(self, verb: str, call: Callable[[], Any]) -> Any:
        with self._lock:
            wanted = self.left > 0 and verb in (self.target, CAUSES.get(self.target))
            if wanted and self._chance.random() < 0.7:
                # A claim must have got something, so that there is something to adopt.
                self._cuts.cut(self.when if verb == self.target else "after")
        try:
            return call()
        except OutcomeUnknown:
            with self._lock:
                self.left -= verb == self.target
            raise
        finally:
            if wanted:
                self._cuts.spare()


@pytest.mark.parametrize("store", CUTTABLE)
def test_what_workers_do_is_done_once(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.worker.FIRST_PAUSE", 0.01)
    global ledger
    ledger = Ledger()
    gate.clear()
    with (
        campaign("unknown-outcome-workers", store) as report,
        cut_store(store, tmp_path, **patience(store)) as (far, cuts, plain),
    ):
        count_unknown(far, report)
        plan = Plan(far, cuts, report)
        worker = Worker(
            far,
            workflows=[mixed, child, climbed, hearing],
            activities=[echo, second_time, climb],
            lease=2.0,
            unknown_after=0.1,
        )
        cuts.cut(report.chance.choice(CUTS))
        worker.start()  # it registers
        try:
            work_through(plan, Client(plain), report)
        finally:
            gate.set()
            cuts.cut(report.chance.choice(CUTS))
            worker.stop(1)  # it unregisters, or its lease expires
        report.faults.update(cuts.hits)
        report.figures["resolved"] = report.figures["unknown"]


def work_through(plan: Plan, client: Client, report: Campaign) -> None:
    """Give the worker work until each of its verbs was cut often enough."""
    plain = client.store
    heard, climber = client.start(hearing.options(id="hearing")), client.start(climbed)
    handles: list[Handle[Any]] = []
    unknown = 0
    for verb in choices(report.chance, TARGETS, rounds(1, 20)):
        for when in CUTS:
            plan.target, plan.when, plan.left = verb, when, rounds(1, 3)
            while plan.left > 0:
                new = [client.start(mixed, len(handles) + n, "hearing") for n in range(3)]
                handles += new
                start(plain, f"unknown-{unknown}", workflow="nobody's")
                FakeWorker(plain, f"dead-{unknown}", lease=-SECOND)
                unknown += 1
                for handle in new:
                    handle.signal("go", True)
                for handle in new:
                    handle.result(timeout=PATIENCE)
    gate.set()
    heard.signal("heard", -1)
    assert heard.result(timeout=PATIENCE) == len(handles)
    assert climber.result(timeout=PATIENCE) == "up"
    check_mixed(client, handles, unknown, report)


def check_mixed(client: Client, handles: list[Handle[Any]], unknown: int, report: Campaign) -> None:
    for number, handle in enumerate(handles):
        expected = [number, 0, 1, 2, None, "second", number + 1, True]
        assert handle.result(timeout=0) == expected
        kinds = [type(event).__name__ for event in handle.history()]
        assert [event.seq for event in handle.history()] == list(range(len(kinds)))
        for kind, count in (("ActivityCompleted", 5), ("SignalReceived", 1), ("TimerFired", 1)):
            assert kinds.count(kind) == count, f"{handle}: {kinds}"
    report.figures["ops"] = report.figures["acked"] = len(handles)
    report.figures["lost"] = 2 * len(handles) + 2 + unknown - client.count()
    report.figures["twice"] = ledger.again()
    until(lambda: client.stats()["instances"][Status.BLOCKED] == unknown, "unknown ones rest")
    stats = client.stats()
    assert (stats["tasks_waiting"], stats["tasks_running"], stats["messages"]) == (0, 0, 0)
