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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import msgpack

from durable.codec import Codec
from durable.errors import PayloadError, UsageError
from durable.events import KINDS, Event, begins_again, dump, load
from durable.model import Instance, Parent, ParentClose, Status, micros, moment
from durable.plain import plain

__all__ = ["FORMAT", "Export", "each_export", "lines_of", "read_exports"]

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
        lengths, waiting = [int(count) for count in head["runs"]], int(head["messages"])
        instance = _row_of(head, len(lengths))
        unread = tuple(head["unread"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{place}: the instance cannot be read: {error!r}") from None
    total = sum(lengths) + waiting
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
    if format != FORMAT:
        newer = isinstance(format, int) and format > FORMAT
        hint = ": a newer version of durable has written it" if newer else ""
        raise UsageError(f"{place}: it has format {format!r}; this version reads {FORMAT}{hint}")


def _row_of(head: dict[str, Any], runs: int) -> Instance:
    parent = head["parent"]
    variables = {name: _bytes_from(value) for name, value in head["vars"].items()}
    given: dict[str, Any] = {name: _bytes_from(head[name]) for name in _PAYLOADS}
    given |= {name: _packed(head[name]) for name in _PACKED}
    created_at = _moment_from(head["created_at"])
    if created_at is None or given["args"] is None:
        raise ValueError("it has no created_at, or no args")
    return Instance(
        uid=bytes.fromhex(head["uid"]),
        id=head["id"],
        workflow=head["workflow"],
        version=head["version"],
        queue=head["queue"],
        run=max(runs, 1),
        status=Status(head["status"]),
        owner="",
        epoch=0,
        wake_at=None,
        history_length=0,
        crashes=0,
        blocked_by="",
        reason=head["reason"],
        vars=msgpack.packb(variables) if variables else None,
        tags=tuple(head["tags"]),
        created_at=created_at,
        started_at=_moment_from(head["started_at"]),
        finished_at=_moment_from(head["finished_at"]),
        parent=None if parent is None else _parent_from(parent),
        **given,
    )


def _parent_from(row: dict[str, Any]) -> Parent:
    close = ParentClose(row["close"])
    return Parent(bytes.fromhex(row["uid"]), row["id"], row["run"], row["command"], close)


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
        return _bytes_from(value)
    if name == "vars":
        return {key: _bytes_from(each) for key, each in value.items()} or None
    if name.endswith("_at"):
        return None if value is None else datetime.fromisoformat(value)
    return _from_json(value)


def _bytes_from(value: Any) -> Any:
    """A payload: its bytes, whatever its value says."""
    return None if value is None else b64decode(value["bytes"], validate=True)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return b64decode(value["bytes"], validate=True)
    return [_from_json(each) for each in value] if isinstance(value, list) else value


def _packed(value: Any) -> bytes | None:
    if value is None:
        return None
    data: bytes = msgpack.packb(_from_json(value))
    return data


def _moment_from(text: str | None) -> int | None:
    return None if text is None else micros(datetime.fromisoformat(text))
