"""The text form of exported instances, and what is refused when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from random import Random
from typing import Any

import pytest

from durable import Client, Codec, Orchestrator, Workflow, activity, wait_signal, workflow
from durable.errors import DurableError, UsageError
from durable.events import KINDS
from durable.exports import Export, each_export, lines_of, read_exports
from durable.registry import Registry
from durable.replay import replay_runs

Row = dict[str, Any]


@activity
def add(number: int) -> int:
    return number + 1


@workflow
def flow(number: int, data: bytes = b"") -> Workflow[int]:
    number = yield from add.call(number)
    yield wait_signal("go")
    return number


@pytest.fixture(scope="module")
def export() -> Export:
    with Orchestrator("memory://", workflows=[flow], activities=[add]) as here:
        handle = here.client.start(flow.options(id="ü", memo={"a": 1}), 1, b"\x00\xff")
        handle.signal("go")
        assert handle.result(timeout=10) == 2
        return handle.export()


@pytest.fixture
def rows(export: Export) -> list[Row]:
    return [json.loads(line) for line in lines_of(export, Codec())]


def as_lines(rows: list[Row]) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def read(lines: list[bytes]) -> list[Export]:
    return list(read_exports(lines, "f.jsonl"))


def test_nothing_is_lost(export: Export, rows: list[Row]) -> None:
    (back,) = read(as_lines(rows))
    assert back.runs == export.runs
    assert (back.messages, back.unread, back.source) == ((), (), "f.jsonl:1")
    stores_own = {"owner", "epoch", "wake_at", "history_length"}
    for field in fields(export.instance):
        if field.name not in stores_own:
            assert getattr(back.instance, field.name) == getattr(export.instance, field.name)


def test_what_waits_in_an_inbox_comes_along() -> None:
    client = Client("memory://")
    handle = client.start(flow, 1)
    handle.signal("go", {"by": "ann"})
    export = handle.export()
    lines = [line.encode() for line in lines_of(export, Codec())]
    assert json.loads(lines[-1])["value"]["value"] == {"by": "ann"}
    (back,) = read(lines)
    assert back.messages == export.messages
    assert back.runs == ((),)
    spoiled = lines[-1].replace(b'"arrived_at"', b'"arrived"')
    with pytest.raises(UsageError, match=r"^f\.jsonl:2: a message must be here"):
        read([lines[0], spoiled])


def test_it_is_for_people_too(rows: list[Row]) -> None:
    head, first, *_, last = rows
    assert (head["durable"], head["format"], head["id"]) == ("instance", 1, "ü")
    assert head["memo"] == {"bytes": "AIGhYQE=", "value": {"a": 1}}
    assert (first["run"], first["seq"], first["event"]) == (1, 0, "WorkflowStarted")
    assert first["args"]["value"] == [1, "AP8="]
    assert (last["event"], last["value"]["value"]) == ("WorkflowCompleted", 2)


def test_only_bytes_count(rows: list[Row], export: Export) -> None:
    rows[1]["args"]["value"] = "something else"
    (back,) = read(as_lines(rows))
    assert back.runs == export.runs


def test_what_cannot_be_decoded_keeps_its_bytes(export: Export) -> None:
    class Other(Codec):
        def unwrap(self, payload: bytes) -> bytes:
            return super().unwrap(b"\x07" + payload[1:])

    lines = [line.encode() for line in lines_of(export, Other())]
    assert "value" not in json.loads(lines[1])["args"]
    assert read(lines)[0].runs == export.runs


def test_no_field_of_an_event_hides_its_place() -> None:
    names = {field.name for cls in KINDS.values() for field in fields(cls)[2:]}
    assert not names & {"run", "seq", "at", "event", "message", "arrived_at"}


# -- what is refused --------------------------------------------------------------------


def test_a_line_that_was_cut(rows: list[Row]) -> None:
    lines = as_lines(rows)[:4]
    lines[-1] = lines[-1][:20]
    with pytest.raises(UsageError, match=r"^f\.jsonl:4: this is no JSON: the line was cut$"):
        read(lines)


def test_a_file_that_was_cut_between_lines(rows: list[Row]) -> None:
    with pytest.raises(
        UsageError,
        match=r"^f\.jsonl:4: here ends instance 'ü', with 3 of its 5 events: it was cut",
    ):
        read(as_lines(rows)[:4])


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"^f\.jsonl:1: there is no exported instance"):
        read(content.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{'a': 1}\n", "Expecting property name"),
        (b"hello", "Expecting value"),
        (b"\xff\xfe{}\n", "it is no text in UTF-8$"),
        (b"\x8b\x00\xf3random", "it is no text in UTF-8$"),
        (b"[" * 100_000 + b"\n", "it is nested too deep$"),
        (b'{"a": ' + b"1" * 5000 + b"}\n", "a number in it has too many digits$"),
        ('{"a": "ü'.encode()[:-1], "the line was cut$"),
    ],
    ids=["quotes", "word", "utf-16", "random", "deep", "digits", "cut"],
)
def test_no_json(line: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=rf"^f\.jsonl:1: this is no JSON: {why}"):
        read([line])


def test_json_of_something_else() -> None:
    with pytest.raises(UsageError, match=r"^f\.jsonl:1: this is no line of an exported instance"):
        read([b"[1, 2]\n"])
    with pytest.raises(UsageError, match=r"^f\.jsonl:1: .*`durable export` makes one"):
        read([b'{"type": "package"}\n'])


def change(place: int, **values: Any) -> Callable[[list[Row]], None]:
    return lambda rows: rows[place].update(values)


def drop(place: int, name: str) -> Callable[[list[Row]], None]:
    def act(rows: list[Row]) -> None:
        del rows[place][name]

    return act


REFUSED = {
    "newer format": (change(0, format=2), r":1: it has format 2; this version reads 1: a newer"),
    "no format": (drop(0, "format"), r":1: it has format None"),
    "no id": (drop(0, "id"), r":1: the instance cannot be read: it has no id$"),
    "status": (change(0, status="odd"), r":1: the instance cannot be read: .*'odd'"),
    "no moment": (change(0, created_at=None), r":1: .*: created_at: text must be here, not None"),
    "moment without a zone": (change(0, started_at="2026-01-01T00:00"), r":1: .*: started_at: "),
    "field that is not known": (change(0, color=1), r":1: .*: there is no field 'color': a newer"),
    "number for a name": (change(0, workflow=7), r":1: .*: workflow: text must be here, not 7"),
    "empty id": (change(0, id=""), r":1: .*: id: an id has 1 to 255 bytes"),
    "uid": (change(0, uid="00ff"), r":1: .*: uid: 16 bytes must be here, not 2"),
    "version": (change(0, version=-1), r":1: .*: version: a number from 0 on must be here, not -1"),
    "no runs": (change(0, runs=[]), r":1: .*: runs: there must be one run at least"),
    "runs": (change(0, runs=[-5]), r":1: .*: runs: a number from 0 on must be here, not -5"),
    "runs of text": (change(0, runs="12"), r":1: .*: runs: a list must be here, not '12'"),
    "messages": (change(0, messages=True), r":1: .*: messages: a number .*, not True"),
    "tags": (change(0, tags="abc"), r":1: .*: tags: a list must be here, not 'abc'"),
    "unread": (change(0, unread=[1]), r":1: .*: unread: text must be here, not 1"),
    "args": (change(0, args=None), r':1: .*: args: \{"bytes": …\} must be here, not None'),
    "vars": (change(0, vars={"a": 1}), r":1: .*: vars: "),
    "vars of text": (change(0, vars="ab"), r":1: .*: vars: "),
    "parent": (change(0, parent={"uid": ""}), r":1: .*: parent: uid: 16 bytes must be here, not 0"),
    "parent of text": (change(0, parent="p"), r":1: .*: parent: an object must be here"),
    "failure": (change(0, failure=["ValueError"]), r":1: .*: failure: "),
    "details of a failure": (
        change(0, failure=["E", "", ["E"], "", None, True]),
        r':1: .*: failure: details: \{"bytes": …\} must be here, not True',
    ),
    "cause of a failure": (
        change(0, failure=["E", "", [], "", ["E", "", [7], "", None, None], None]),
        r":1: .*: failure: cause: types: text must be here, not 7",
    ),
    "header": (change(0, header=[1]), r":1: .*: header: "),
    "no result": (change(0, result=None), r":1: .*: it is completed, and has no result"),
    "format": (change(0, format=True), r":1: it has format True; this version reads 1"),
    "unknown event": (change(2, event="Juggled"), r":3: there is no event 'Juggled': a newer"),
    "no event": (drop(2, "event"), r":3: there is no event None"),
    "unknown field": (change(2, color=1), r":3: ActivityScheduled has no field 'color'"),
    "field left out": (drop(2, "name"), r":3: this ActivityScheduled cannot be read: .*'name'"),
    "wrong base64": (change(2, args={"bytes": "?"}), r":3: this ActivityScheduled cannot be read"),
    "no bytes": (change(2, args=[1]), r":3: this ActivityScheduled cannot be read"),
    "wrong moment": (change(2, at="noon"), r":3: this ActivityScheduled cannot be read: .*'noon'"),
    "number for a text": (change(2, name=7), r":3: this ActivityScheduled .*: text must be here"),
    "text for a number": (change(2, command="0"), r":3: this ActivityScheduled .*: a whole number"),
    "truth for a number": (change(2, command=True), r":3: this ActivityScheduled .*: a whole num"),
    "list for a version": (change(1, version=[1]), r":2: this WorkflowStarted .*: a whole number"),
    "deadline": (change(1, deadline_at="2026-01-01T00:00"), r":2: this .*: 2026.* names no zone"),
    "a gap": (lambda rows: rows.insert(2, rows.pop(3)), r":3: run 1, seq 1 must be here, and not"),
    "another run": (change(2, run=2), r":3: run 1, seq 1 must be here"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refusals(spoil: Callable[[list[Row]], object], message: str, rows: list[Row]) -> None:
    spoil(rows)
    with pytest.raises(UsageError, match=rf"^f\.jsonl{message}"):
        read(as_lines(rows))


def test_instances_around_a_bad_one_are_read(rows: list[Row]) -> None:
    good, bad = as_lines(rows), as_lines(rows)
    bad[2] = b"no\n"
    found = list(each_export([*good, *bad[:4], *good, *good, b"{}\n"], "f.jsonl"))
    assert [getattr(one, "source", str(one).split(": ")[0]) for one in found] == [
        "f.jsonl:1",
        "f.jsonl:9",
        "f.jsonl:11",
        "f.jsonl:17",
        "f.jsonl:23",
    ]
    assert str(found[-1]).endswith(":23: this is of no instance")
    lines = read_exports([*good, *bad], "f.jsonl")
    assert next(lines).instance.id == "ü"
    with pytest.raises(UsageError, match=r"^f\.jsonl:9: this is no JSON"):
        next(lines)


ODD: list[Any] = [
    None, True, 0, -1, 2**70, 1.5, "", "x", "\x00", [], [1], [[]], {}, {"bytes": "AA=="},
    {"bytes": 1}, "2026-01-01T00:00:00Z", "2026-01-01", {"a": {"bytes": "gA=="}},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_in_a_file_is_refused_or_replayed(rows: list[Row], seed: int) -> None:
    """No error but those that say what is wrong: a value of a line was changed for another."""
    random = Random(seed)
    row = random.choice(rows)
    name = random.choice(list(row))
    inside = row[name]
    if isinstance(inside, dict | list) and inside and random.random() < 0.5:
        places = list(inside) if isinstance(inside, dict) else range(len(inside))
        inside[random.choice(places)] = random.choice(ODD)
    else:
        row[name] = random.choice(ODD)
    for found in each_export(as_lines(rows), "f.jsonl"):
        if isinstance(found, Export):
            with suppress(DurableError):
                list(replay_runs(found, Registry([], [flow]), Codec()))
