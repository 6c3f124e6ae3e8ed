"""From lines to instances; whatever is wrong is said with its line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from durable.errors import UsageError
from durable.events import KINDS, dump
from durable.exports.export import FORMAT, Export
from durable.exports.fields import event_field, instance_from, read_head
from durable.model import micros

_CLASSES = {cls.__name__: cls for cls in KINDS.values()}


def lines_of_file(path: str) -> list[bytes]:
    """What `read_exports` takes. Raises `UsageError` for a file that cannot be read."""
    try:
        return Path(path).read_bytes().splitlines(keepends=True)
    except (OSError, ValueError) as error:  # a NUL in its name
        raise UsageError(f"{path}: {getattr(error, 'strerror', error)}") from error


def read_exports(lines: Iterable[bytes], name: str) -> Iterator[Export]:
    """The instances of a file. name: what the file is called in errors.

    Raises `UsageError`, which begins with ``name:line``, for the first line that cannot be
    read; and if there is no instance at all.
    """
    for found in each_export(lines, name):
        if isinstance(found, UsageError):
            raise found
        yield found


def each_export(lines: Iterable[bytes], name: str) -> Iterator[Export | UsageError]:
    """As `read_exports`, but an instance that cannot be read does not hide those after it."""
    empty = True
    for rows in _groups(lines, name):
        empty = False
        try:
            export, more = _export(rows)
        except UsageError as error:
            yield error
            continue
        yield export
        if more:
            place, row = more[0]
            yield UsageError(f"{place}: {row.get('wrong') or 'this is of no instance'}")
    if empty:
        yield UsageError(f"{name}:1: there is no exported instance in it")


_Row = tuple[str, dict[str, Any]]


def _groups(lines: Iterable[bytes], name: str) -> Iterator[list[_Row]]:
    """The lines of each instance, as (``name:line``, the object on it). In place of a line
    that holds none there is what is wrong with it."""
    rows: list[_Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _parsed(line)
        if rows and "durable" in row:
            yield rows
            rows = []
        rows.append((f"{name}:{number}", row))
    if rows:
        yield rows


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return {"wrong": f"this is no JSON: {_why_no_json(line, error)}"}
    if not isinstance(row, dict):
        return {"wrong": "this is no line of an exported instance"}
    return row


def _why_no_json(line: bytes, error: Exception) -> str:
    """In our words, where Python's are about its own settings."""
    if isinstance(error, UnicodeDecodeError) and error.end < len(line):
        return "it is no text in UTF-8"
    if line.startswith(b"{") and not line.endswith(b"\n"):
        return "the line was cut"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return str(error)
    return "a number in it has too many digits"


def _export(rows: Sequence[_Row]) -> tuple[Export, Sequence[_Row]]:
    """An instance, and the lines after it that are not its own."""
    place, head = rows[0]
    _check_format(place, head)
    try:
        given = read_head(head)
        instance = instance_from(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{place}: the instance cannot be read: {error}") from None
    lengths, unread = given["runs"], given["unread"]
    total = sum(lengths) + given["messages"]
    own, more = rows[1 : total + 1], rows[total + 1 :]
    for at, row in own:
        if "wrong" in row:
            raise UsageError(f"{at}: {row['wrong']}")
    if len(own) < total:
        raise UsageError(
            f"{rows[-1][0]}: here ends instance {instance.id!r}, with {len(own)} of its {total} "
            "events: it was cut"
        )
    left = iter(own)
    runs = tuple(
        tuple(_stored(*next(left), {"run": run, "seq": seq}) for seq in range(length))
        for run, length in enumerate(lengths, 1)
    )
    messages = tuple(_message(*row) for row in left)
    return Export(instance, runs, messages, unread, place), more


def _check_format(place: str, head: dict[str, Any]) -> None:
    if "wrong" in head:
        raise UsageError(f"{place}: {head['wrong']}")
    if head.get("durable") != "instance":
        raise UsageError(
            f"{place}: an exported instance begins with a line that says "
            '"durable": "instance": `durable export` makes one'
        )
    format = head.get("format")
    if type(format) is not int or format != FORMAT:
        newer = isinstance(format, int) and format > FORMAT
        hint = ": a newer version of durable has written it" if newer else ""
        raise UsageError(f"{place}: it has format {format!r}; this version reads {FORMAT}{hint}")


def _message(place: str, row: dict[str, Any]) -> tuple[str, int, bytes]:
    message_id, arrived_at = row.get("message"), row.get("arrived_at")
    try:
        arrived = micros(datetime.fromisoformat(arrived_at or ""))
    except (TypeError, ValueError):
        arrived = None
    if not isinstance(message_id, str) or arrived is None:
        raise UsageError(f"{place}: a message must be here, and not {_shown(row)}")
    expected = {"message": message_id, "arrived_at": arrived_at}
    return message_id, arrived, _stored(place, row, expected)


def _stored(place: str, row: dict[str, Any], expected: dict[str, Any]) -> bytes:
    """The stored form of the event on a line. expected: what tells its place."""
    if any(row.get(name) != value for name, value in expected.items()):
        wanted = ", ".join(f"{name} {value}" for name, value in expected.items())
        raise UsageError(f"{place}: {wanted} must be here, and not {_shown(row)}")
    given = {name: value for name, value in row.items() if name not in expected}
    name, at = given.pop("event", None), given.pop("at", None)
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise UsageError(f"{place}: there is no event {name!r}: a newer version may have it")
    unknown = sorted(given.keys() - {field.name for field in fields(cls)})
    if unknown:
        raise UsageError(
            f"{place}: {name} has no field {unknown[0]!r}: a newer version may have it"
        )
    try:
        own = {field: event_field(cls, field, value) for field, value in given.items()}
        return dump(cls(expected.get("seq", 0), datetime.fromisoformat(at), **own))
    except Exception as error:
        raise UsageError(f"{place}: this {name} cannot be read: {error}") from None


def _shown(row: dict[str, Any]) -> str:
    told = ("durable", "id", "run", "seq", "message", "arrived_at", "event")
    return json.dumps({name: row[name] for name in told if name in row}, ensure_ascii=False)
