"""What somebody has damaged in a store: it stops one instance, and no other, until it is mended."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fault_kit import PATIENCE, campaign, until
from store_table import STORES, fresh_url

from durable import Client, Handle, Status, Worker, Workflow, activity, wait_signal, workflow
from durable.errors import StoreError
from durable.stores import open_store
from durable.testing.store_contract.base import look

Events = dict[int, bytes]
"""By their seq."""


@activity
def double(number: int) -> int:
    return 2 * number


@workflow
def listening(number: int) -> Workflow[int]:
    found: int = yield double.call(number)
    found += yield wait_signal("value")
    return found


# -- damages ----------------------------------------------------------------------------


def flipped(events: Events) -> None:
    data = events[1]
    middle = len(data) // 2
    events[1] = data[:middle] + bytes(255 - byte for byte in data[middle:])


def empty(events: Events) -> None:
    events[1] = b""


def of_a_newer_version(events: Events) -> None:
    events[1] = msgpack.packb([2, *msgpack.unpackb(events[1], strict_map_key=False)[1:]])


def of_an_unknown_kind(events: Events) -> None:
    version, _, *rest = msgpack.unpackb(events[1], strict_map_key=False)
    events[1] = msgpack.packb([version, 9999, *rest])


def gap(events: Events) -> None:
    del events[1]


def cut_off(events: Events) -> None:
    del events[max(events)]


def twice(events: Events) -> None:
    events[2] = events[1]


def swapped(events: Events) -> None:
    events[1], events[2] = events[2], events[1]


DAMAGES: Mapping[str, Callable[[Events], None]] = {
    damage.__name__: damage
    for damage in (
        *(flipped, empty, of_a_newer_version, of_an_unknown_kind),
        *(gap, cut_off, twice, swapped),
    )
}


def write(store: Any, uid: bytes, events: Events) -> None:
    """Put a history in the place of the one that is there."""
    if hasattr(store, "_link"):
        _write_redis(store, uid, events)
    else:
        store._write(lambda tx: _write_sql(store, tx, uid, events))


def _write_redis(store: Any, uid: bytes, events: Events) -> None:
    table = store._parts.keys[store._parts.of_uid(uid)]["history"]

    def command(verb: str, *args: Any) -> Any:
        return store._link.command(verb, table, *args, key=table)

    command("HDEL", *[field for field in command("HKEYS") if field.startswith(uid)])
    for seq, event in events.items():
        field = uid + struct.pack(">II", 1, seq)
        command("HSET", field, msgpack.packb([event], use_bin_type=False))


def _write_sql(store: Any, tx: Any, uid: bytes, events: Events) -> None:
    names, mark = store.models.names, store.dialect.parameter
    [[number]] = tx.raw(f"SELECT number FROM {names['instances']} WHERE uid = {mark}", [uid])
    tx.do(f"DELETE FROM {names['history']} WHERE number = {mark}", [number])
    for seq, event in events.items():
        tx.do(
            f"INSERT INTO {names['history']} (number, run, seq, event)"
            f" VALUES ({mark}, {mark}, {mark}, {mark})",
            [number, 1, seq, event],
        )


@pytest.mark.parametrize("store", [name for name in STORES if name != "memory"])
def test_a_damaged_history_stops_its_own_instance(store: str, tmp_path: Path) -> None:
    with campaign("damaged-history", store) as report:
        opened = open_store(fresh_url(store, tmp_path))
        opened.open()
        client = Client(opened)
        handles: dict[str, Handle[int]] = {
            name: client.start(listening.options(id=name), 1) for name in (*DAMAGES, "sound")
        }
        work_until(opened, lambda: all(_waits(client, handle) for handle in handles.values()))
        whole: dict[str, Events] = {}
        for name, damage in DAMAGES.items():
            uid = look(opened, name).uid
            [stored] = opened.history([(uid, 1)])
            whole[name] = dict(stored)
            damaged = dict(stored)
            damage(damaged)
            write(opened, uid, damaged)
            report.faults[name] += 1
        for handle in handles.values():
            handle.signal("value", 5)

        def stopped() -> bool:
            return all(handles[name].status() is Status.BLOCKED for name in DAMAGES)

        work_until(opened, lambda: stopped() and handles["sound"].status() is Status.COMPLETED)
        for name in DAMAGES:
            assert handles[name].row().reason, name
        for name, events in whole.items():
            write(opened, look(opened, name).uid, events)
            handles[name].retry()
        work_until(opened, lambda: all(h.status() is Status.COMPLETED for h in handles.values()))
        assert {handle.result(timeout=0) for handle in handles.values()} == {7}
        report.figures["ops"] = report.figures["acked"] = len(handles)
        opened.close()


def _waits(client: Client, handle: Handle[int]) -> bool:
    return len(handle.history()) >= 3 and not client.store.tasks(handle._uid)


def work_until(store: Any, condition: Callable[[], object]) -> None:
    """By a worker that remembers nothing."""
    worker = Worker(store, workflows=[listening], activities=[double])
    worker.start()
    try:
        until(condition, "the work is done")
    finally:
        worker.stop(1)


def test_a_damaged_page_is_told(tmp_path: Path) -> None:
    """Nobody takes what is left for all there was."""
    url = fresh_url("sqlite", tmp_path)
    with campaign("damaged-page", "sqlite") as report:
        store: Any = open_store(url)
        store.open()
        client = Client(store)
        handle = client.start(listening, 1)
        work_until(store, lambda: _waits(client, handle))
        store.close()
        file = Path(store._path)
        with sqlite3.connect(file) as connection:
            name = store.models.names["history"].strip('"')
            text = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            [page] = connection.execute(text, [name]).fetchone()
            [size] = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        with file.open("r+b") as disk:
            disk.seek((page - 1) * size)
            disk.write(bytes(range(256)) * (size // 256))
        report.faults["page"] += 1
        with pytest.raises(StoreError, match="malformed"):
            handle.history()
        assert handle.status() is Status.RUNNING
        report.figures["ops"] += 1
        store.close()


@pytest.mark.parametrize("store", ["redis", "redis-cluster"])
def test_a_damaged_row_keeps_no_other_waiting(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with campaign("damaged-row", store) as report:
        opened: Any = open_store(fresh_url(store, tmp_path))
        opened.open()
        client = Client(opened)
        broken = client.start(listening.options(id="broken"), 1)
        uid = look(opened, broken.id).uid
        table = next(
            keys["instances"]
            for keys in opened._parts.keys
            if opened._link.command("HEXISTS", keys["instances"], uid, key=keys["instances"])
        )
        row = opened._link.command("HGET", table, uid, key=table)
        opened._link.command("HSET", table, uid, b"\xc1", key=table)
        report.faults["damaged_row"] += 1
        handle = client.start(listening, 2)
        handle.signal("value", 1)
        work_until(opened, lambda: client.get(handle.id).status().finished)
        [told] = [one.getMessage() for one in caplog.records if "is damaged" in one.getMessage()]
        assert uid.hex() in told
        opened._link.command("HSET", table, uid, row, key=table)
        broken.signal("value", 1)
        work_until(opened, lambda: broken.status().finished)
        assert broken.result() == 3


@pytest.mark.parametrize("how", ["FLUSHALL", "SCRIPT FLUSH"])
def test_what_a_server_of_redis_has_forgotten(how: str, tmp_path: Path) -> None:
    with campaign(how.lower().replace(" ", "-"), "redis") as report:
        store: Any = open_store(fresh_url("redis", tmp_path))
        store.open()
        client = Client(store)
        worker = Worker(store, workflows=[listening], activities=[double])
        worker.start()
        try:
            handle = client.start(listening, 1)
            until(lambda: _waits(client, handle), "it waits")
            store._link.command(*how.split())
            report.faults[how.replace(" ", "_")] += 1
            if how == "FLUSHALL":
                with pytest.raises(StoreError, match="not the store that was opened"):
                    client.start(listening, 1)
                with pytest.raises(StoreError, match="not the store that was opened"):
                    handle.status()
            else:
                handle.signal("value", 5)
                assert handle.result(timeout=PATIENCE) == 7
            report.figures["ops"] += 1
        finally:
            worker.stop(0)
            store.close()
