"""Exported instances: text that can be kept, compared, replayed, and taken into a store.

Form: JSON by lines, in UTF-8.  An instance is a line that begins with ``"durable":
"instance"``, its events, a line each, run by run, and what waits in its inbox, a line each.

Rules
-----
* The first line has ``format`` (this is 1), and how many lines follow, so that a file that
  was cut is found out.  A format that is newer, an event or a field that is not known are
  refused: half a history is worse than none.
* Bytes are ``{"bytes": <base64>}`` and nothing is lost of them.  A payload has its ``value``
  beside them, for people and for comparisons: only the bytes count when it is read.
* Names and fields of events are those of `durable.events`.  Moments (``at``, and names that
  end in ``_at``) are ISO-8601 in UTC, to the microsecond.
* What belongs to the store alone is left out: owner, epoch, and what is scheduled.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgpack

from durable.codec import Codec
from durable.errors import PayloadError, UsageError
from durable.events import KINDS, Event, begins_again, dump, load
from durable.failure import Failure
from durable.header import Header
from durable.model import Instance, Parent, ParentClose, Status, checked_id, micros, moment
from durable.plain import plain
from durable.reprs import bounded

__all__ = ["FORMAT", "Export", "each_export", "lines_of", "lines_of_file", "read_exports"]

FORMAT = 1

_CLASSES = {cls.__name__: cls for cls in KINDS.values()}
_PAYLOADS = ("args", "kwargs", "memo", "result")
_PACKED = ("failure", "header")  # msgpack in the row, and shown as what is in it


@dataclass(frozen=True, slots=True)
class Export:
    """An instance with the history of each of its runs, and what has arrived for it.

    runs: encoded events. messages: (message id, arrived at, encoded event), in order.
    unread: names of the signals that nobody had read when it ended. source: ``file:line``
    from which it was read, or empty.
    """

    instance: Instance
    runs: tuple[tuple[bytes, ...], ...]
    messages: tuple[tuple[str, int, bytes], ...] = ()
    unread: tuple[str, ...] = ()
    source: str = ""

    @property
    def begins_again(self) -> bool:
        """Whether all of its last run is a copy, after which it has not gone on yet."""
        return begins_again(data for _, _, data in self.messages)


# -- writing ----------------------------------------------------------------------------


def lines_of(export: Export, codec: Codec) -> Iterator[str]:
    """The lines of an instance, without their ends. codec: makes payloads readable."""
    yield _line(_head(export, codec))
    for run, events in enumerate(export.runs, 1):
        for seq, data in enumerate(events):
            yield _line({"run": run, "seq": seq} | _event(load(data, seq), codec))
    for message_id, arrived_at, data in export.messages:
        place = {"message": message_id, "arrived_at": _iso(arrived_at)}
        yield _line(place | _event(load(data, 0), codec))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _head(export: Export, codec: Codec) -> dict[str, Any]:
    one = export.instance
    variables = {} if one.vars is None else msgpack.unpackb(one.vars)
    return {
        "durable": "instance",
        "format": FORMAT,
        "id": one.id,
        "uid": one.uid.hex(),
        "workflow": one.workflow,
        "version": one.version,
        "queue": one.queue,
        "status": one.status.value,
        "reason": one.reason,
        "created_at": _iso(one.created_at),
        "started_at": _iso(one.started_at),
        "finished_at": _iso(one.finished_at),
        "tags": list(one.tags),
        "parent": _parent(one.parent),
        **{name: _payload(getattr(one, name), codec) for name in _PAYLOADS},
        "vars": {name: _payload(value, codec) for name, value in variables.items()},
        **{name: _unpacked(getattr(one, name)) for name in _PACKED},
        "unread": list(export.unread),
        "runs": [len(events) for events in export.runs],
        "messages": len(export.messages),
    }


def _parent(parent: Parent | None) -> dict[str, Any] | None:
    if parent is None:
        return None
    return {
        "uid": parent.uid.hex(),
        "id": parent.id,
        "run": parent.run,
        "command": parent.command,
        "close": parent.close.value,
    }


def _event(event: Event, codec: Codec) -> dict[str, Any]:
    row: dict[str, Any] = {"at": _iso(micros(event.at)), "event": type(event).__name__}
    for field in fields(event)[2:]:
        value = getattr(event, field.name)
        if field.name in event.payloads:
            row[field.name] = _payload(value, codec)
        elif field.name == "vars":
            row[field.name] = {name: _payload(each, codec) for name, each in (value or {}).items()}
        elif isinstance(value, datetime):
            row[field.name] = _iso(micros(value))
        else:
            row[field.name] = _as_json(value)
    return row


def _payload(data: bytes | None, codec: Codec) -> Any:
    if data is None:
        return None
    row = _as_json(data)
    with suppress(PayloadError):  # encrypted, say: its bytes are all that can be told
        row["value"] = plain(codec.decode(data))
    return row


def _as_json(value: Any) -> Any:
    """What msgpack holds, with bytes as ``{"bytes": …}``."""
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode("ascii")}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return value


def _unpacked(data: bytes | None) -> Any:
    return None if data is None else _as_json(msgpack.unpackb(data))


def _iso(at: int | None) -> str | None:
    return None if at is None else moment(at).isoformat().removesuffix("+00:00") + "Z"


# -- reading ----------------------------------------------------------------------------


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
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = "the line was cut" if not line.endswith(b"\n") else str(error)
        return {"wrong": f"this is no JSON: {why}"}
    if not isinstance(row, dict):
        return {"wrong": "this is no line of an exported instance"}
    return row


def _export(rows: Sequence[_Row]) -> tuple[Export, Sequence[_Row]]:
    """An instance, and the lines after it that are not its own."""
    place, head = rows[0]
    _check_format(place, head)
    try:
        given = _read(head, _HEAD)
        instance = _instance_from(given)
        _check_result(instance)
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


def _instance_from(given: dict[str, Any]) -> Instance:
    """The row, from the fields of a head."""
    own = {field.name for field in fields(Instance)}
    variables = given.pop("vars")
    return Instance(
        run=len(given["runs"]),
        owner="",
        epoch=0,
        wake_at=None,
        history_length=0,
        crashes=0,
        blocked_by="",
        vars=msgpack.packb(variables) if variables else None,
        **{name: value for name, value in given.items() if name in own},
    )


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
        own = {field: _field_from(cls, field, value) for field, value in given.items()}
        return dump(cls(expected.get("seq", 0), datetime.fromisoformat(at), **own))
    except Exception as error:
        raise UsageError(f"{place}: this {name} cannot be read: {error}") from None


def _shown(row: dict[str, Any]) -> str:
    told = ("durable", "id", "run", "seq", "message", "arrived_at", "event")
    return json.dumps({name: row[name] for name in told if name in row}, ensure_ascii=False)


def _field_from(cls: type[Event], name: str, value: Any) -> Any:
    if name in cls.payloads:
        return None if value is None else _bytes_from(value)
    if name == "vars":
        return _variables(value) or None
    if name.endswith("_at"):
        return None if value is None else datetime.fromisoformat(value)
    return _from_json(value)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return b64decode(value["bytes"], validate=True)
    return [_from_json(each) for each in value] if isinstance(value, list) else value


# -- the fields of the first line -------------------------------------------------------


def _read(row: Any, table: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """The fields of a row, read as the table says: all of them, and no others."""
    if not isinstance(row, dict):
        raise ValueError(f"an object must be here, not {bounded(row)}")
    unknown = sorted(row.keys() - table.keys())
    if unknown:
        raise ValueError(f"there is no field {unknown[0]!r}: a newer version may have it")
    found = {}
    for name, read in table.items():
        if name not in row:
            raise ValueError(f"it has no {name}")
        try:
            found[name] = read(row[name])
        except Exception as error:  # whatever is wrong with what somebody has written
            raise ValueError(f"{name}: {error}") from None
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text must be here, not {bounded(value)}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _list(value))


def _count(value: Any, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"a number from {least} on must be here, not {bounded(value)}")
    return value


def _counts(value: Any) -> list[int]:
    counts = [_count(each) for each in _list(value)]
    if not counts:
        raise ValueError("there must be one run at least")
    return counts


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a list must be here, not {bounded(value)}")
    return value


def _uid(value: Any) -> bytes:
    uid = bytes.fromhex(_text(value))
    if len(uid) != 16:
        raise ValueError(f"16 bytes must be here, not {len(uid)}")
    return uid


def _moment_from(value: Any) -> int:
    return micros(datetime.fromisoformat(_text(value)))


def _parent_from(value: Any) -> Parent:
    return Parent(**_read(value, _PARENT))


def _bytes_from(value: Any) -> bytes:
    """A payload: its bytes, whatever its value says."""
    if not isinstance(value, dict) or not isinstance(value.get("bytes"), str):
        raise ValueError(f'{{"bytes": …}} must be here, not {bounded(value)}')
    return b64decode(value["bytes"], validate=True)


def _variables(value: Any) -> dict[str, bytes]:
    return {_text(name): _bytes_from(each) for name, each in dict(value).items()}


def _failure(value: Any) -> bytes:
    Failure.from_data(_list(_from_json(value)), bytes)  # it can be read
    return _packed(value)


def _header(value: Any) -> bytes:
    Header.load(_packed(value))  # it can be read
    return _packed(value)


def _packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(_from_json(value))
    return data


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _check_result(instance: Instance) -> None:
    if instance.status is Status.COMPLETED and instance.result is None:
        raise ValueError("it is completed, and has no result")


_PARENT: dict[str, Callable[[Any], Any]] = {
    "uid": _uid,
    "id": _text,
    "run": partial(_count, least=1),
    "command": _count,
    "close": ParentClose,
}
_HEAD: dict[str, Callable[[Any], Any]] = {
    "durable": _text,
    "format": _count,
    "id": checked_id,
    "uid": _uid,
    "workflow": _text,
    "version": _or_none(_count),
    "queue": _text,
    "status": Status,
    "reason": _text,
    "created_at": _moment_from,
    "started_at": _or_none(_moment_from),
    "finished_at": _or_none(_moment_from),
    "tags": _texts,
    "parent": _or_none(_parent_from),
    "args": _bytes_from,
    "kwargs": _or_none(_bytes_from),
    "memo": _or_none(_bytes_from),
    "result": _or_none(_bytes_from),
    "vars": _variables,
    "failure": _or_none(_failure),
    "header": _or_none(_header),
    "unread": _texts,
    "runs": _counts,
    "messages": _count,
}
"""From the name of each field to what reads it, or raises."""
