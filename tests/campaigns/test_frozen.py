"""A server that stands still, or is behind a black hole: nobody waits for ever, and nothing is
done twice when it is back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_kit import (
    CUTTABLE_SERVERS,
    PATIENCE,
    WRITES,
    Campaign,
    campaign,
    cut_store,
    rounds,
    tap,
    until,
)
from store_table import SERVERS
from ticking_flows import ledger, tick, ticking

from durable import (
    Client,
    Handle,
    Worker,
    Workflow,
    wait_signal,
    workflow,
)
from durable.errors import DurableError, OutcomeUnknown
from durable.store import Sent, Store, Unavailable
from durable.testing.store_contract.base import inbox, look, send, start

TIMEOUT = 1.0
"""The option of the stores."""

ATTEMPT = 3 * TIMEOUT + 1
"""Seconds that one call of a store may take: so it is documented."""

SLACK = 3.0
"""Seconds that a busy machine may add, and a connection that is made anew."""

DEADLINE = 1.0
"""Of the clients: they begin no other attempt after that."""


@workflow
def listening() -> Workflow[list[Any]]:
    found = []
    while (value := (yield wait_signal("value"))) is not None:
        found.append(value)
    return found


class Watch:
    """How long the calls of a store take, and how many it could not serve."""

    def __init__(self, store: Store) -> None:
        self.longest = 0.0
        self.failed: Counter[str] = Counter()
        for verb in (*WRITES, "instance", "history", "stats", "workers", "owned"):
            tap(store, verb, partial(self._around, verb))

    def _around(self, verb: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            return call()
        except (Unavailable, OutcomeUnknown):
            self.failed[verb] += 1
            raise
        finally:
            self.longest = max(self.longest, time.monotonic() - began)


@contextmanager
def still(how: str, store: str, proxy: Any) -> Iterator[None]:
    """The server does not answer."""
    server = SERVERS[store]()
    if how == "frozen":
        server.freeze()
    else:
        proxy.blackhole()
    try:
        yield
    finally:
        if how == "frozen":
            server.thaw()
        else:
            proxy.heal()


def told(call: Callable[[], Any]) -> tuple[float, BaseException | None]:
    """How long a call took, and what it raised."""
    began = time.monotonic()
    try:
        call()
    except DurableError as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


def all_at_once(calls: list[Callable[[], Any]]) -> list[tuple[float, BaseException | None]]:
    """What `told` says of each; every one in a thread of its own."""
    found: list[tuple[float, BaseException | None]] = []
    threads = [threading.Thread(target=lambda c=call: found.append(told(c))) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a call does not return"
    return found


@pytest.mark.parametrize("how", ["frozen", "blackhole"])
@pytest.mark.parametrize("store", CUTTABLE_SERVERS)
def test_nobody_waits_for_ever_and_nothing_is_done_twice(
    store: str, how: str, tmp_path: Path
) -> None:
    ledger.clear()
    with (
        campaign(f"server-{how}", store) as report,
        cut_store(store, tmp_path, timeout=TIMEOUT) as (far, proxy, plain),
    ):
        client, looking = Client(far, deadline=DEADLINE), Client(plain)
        watch = Watch(far)
        worker = Worker(far, workflows=[ticking, listening], activities=[tick], lease=60)
        worker.start()
        try:
            for turn in range(rounds(1, 10)):
                one_freeze(report, turn, how, (store, proxy), client, looking, watch)
        finally:
            worker.stop(0)
        assert watch.longest <= ATTEMPT + SLACK
        report.notes["longest_call"] = f"{watch.longest:.1f}"
        assert ledger.twice() == []
        report.figures["resolved"] = report.figures["unknown"]


def one_freeze(
    report: Campaign,
    turn: int,
    how: str,
    where: tuple[str, Any],
    client: Client,
    looking: Client,
    watch: Watch,
) -> None:
    running = [looking.start(ticking, 20) for _ in range(5)]
    hearing: list[Handle[Any]] = [looking.start(listening) for _ in range(4)]
    until(lambda: len(ledger) >= 100 * turn + 10, "the work is under way")
    before = watch.failed.total()
    with still(how, *where):
        calls: list[Callable[[], Any]] = [
            *(partial(client.signal, handle.id, "value", 1) for handle in hearing),
            partial(client.start, ticking.options(id=f"late-{turn}"), 1),
            partial(client.cancel, "nobody"),
            partial(client.get, running[0].id),
            client.stats,
            partial(client.list, limit=1),
        ]
        found = all_at_once(calls)
        slowest = max(seconds for seconds, _ in found)
        assert slowest <= DEADLINE + 2 * ATTEMPT + SLACK
        assert all(isinstance(error, Unavailable | OutcomeUnknown) for _, error in found), found
        until(lambda: watch.failed.total() > before + len(found), "the worker notices, too")
    report.faults[how] += 1
    report.figures["unknown"] += sum(isinstance(error, OutcomeUnknown) for _, error in found)
    report.figures["ops"] += len(found) + len(running)
    report.notes["slowest"] = f"{slowest:.1f}"
    assert [handle.result(timeout=PATIENCE) for handle in running] == [190] * len(running)
    for handle in hearing:
        looking.signal(handle.id, "value", None)
        heard = handle.result(timeout=PATIENCE)
        assert heard in ([], [1])
    report.figures["acked"] += len(running)


@pytest.mark.parametrize("store", CUTTABLE_SERVERS)
def test_a_worker_stops_while_its_server_stands_still(store: str, tmp_path: Path) -> None:
    with (
        campaign("stop-while-frozen", store) as report,
        cut_store(store, tmp_path, timeout=TIMEOUT) as (far, proxy, _),
    ):
        worker = Worker(far, workflows=[listening], lease=60)
        worker.start()
        with still("frozen", store, proxy):
            report.faults["frozen"] += 1
            began = time.monotonic()
            worker.stop(0)
            # At most a call of the loop, one of the heartbeat, and its release.
            assert time.monotonic() - began <= 3 * (ATTEMPT + SLACK)
            report.notes["stopped_after"] = f"{time.monotonic() - began:.1f}"
        report.figures["ops"] += 1


@pytest.mark.parametrize("store", ["postgresql", "mysql"])
def test_who_vanishes_in_a_transaction_leaves_no_locks(store: str, tmp_path: Path) -> None:
    """The server ends a session that goes on with nothing; MySQL, other than MariaDB, after a
    minute."""
    with (
        campaign("vanished-client", store) as report,
        cut_store(store, tmp_path, timeout=TIMEOUT) as (far, proxy, plain),
    ):
        uid = start(plain)
        proxy.cut("strand")
        with pytest.raises(OutcomeUnknown):
            send(far, "m-1")
        report.faults.update(proxy.hits)
        assert inbox(plain, uid) == []
        began = time.monotonic()
        client = Client(plain, deadline=PATIENCE)
        client.signal("i-1", "value", 2)
        assert time.monotonic() - began <= ATTEMPT + SLACK
        assert look(plain).status
        assert len(inbox(plain, uid)) == 1
        assert send(far, "m-1") is Sent.SENT
        assert len(inbox(plain, uid)) == 2
        report.figures.update(ops=3, acked=2, unknown=1, resolved=1)


@pytest.mark.parametrize("store", CUTTABLE_SERVERS)
def test_a_slow_server_costs_no_lease(store: str, tmp_path: Path) -> None:
    """50 to 200 ms for each way (half of that in haste), many ways for each heartbeat."""
    ledger.clear()
    with (
        campaign("slow-server", store) as report,
        cut_store(store, tmp_path, timeout=10) as (far, proxy, plain),
    ):
        worker = Worker(far, workflows=[ticking], activities=[tick], lease=6)
        worker.start()
        before = [info.id for info in plain.workers()]
        client = Client(plain)
        renewed: set[int] = set()

        def heartbeats() -> int:
            renewed.update(info.expires_at for info in plain.workers())
            return len(renewed)

        try:
            most = rounds(1, 2) * 0.1
            proxy.latency = lambda: report.chance.uniform(0.05, most)
            handles = [client.start(ticking, rounds(1, 20)) for _ in range(3)]
            for handle in handles:
                handle.result(timeout=PATIENCE)
            until(lambda: heartbeats() >= rounds(3, 20), "heartbeats")
            assert [info.id for info in plain.workers()] == before, "the lease was lost"
        finally:
            proxy.latency = float
            worker.stop(0)
        assert ledger.twice() == []
        report.faults.update(delay=proxy.hits["delay"])
        report.figures["ops"] = report.figures["acked"] = len(handles)
