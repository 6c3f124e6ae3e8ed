"""The fields of exported instances and events: each is read by a function that raises for what
cannot be in it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from functools import partial
from typing import Any

import msgpack

from durable.events import KINDS, Event
from durable.header import Header
from durable.model import Instance, Parent, ParentClose, Status, checked_id, micros
from durable.reprs import bounded

Read = Callable[[Any], Any]


def read_head(head: dict[str, Any]) -> dict[str, Any]:
    """The fields of the first line. Raises `ValueError`."""
    return _read(head, _HEAD)


def instance_from(given: dict[str, Any]) -> Instance:
    """The row, from the fields of a head. Raises `ValueError`."""
    if given["status"] is Status.COMPLETED and given["result"] is None:
        raise ValueError("it is completed, and has no result")
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


def event_field(cls: type[Event], name: str, value: Any) -> Any:
    """A field of an event, from JSON. Raises any error for what cannot be in it."""
    if name in cls.payloads:
        return None if value is None else _bytes_from(value)
    if name == "vars":
        return _variables(value) or None
    if name == "error":
        return None if value is None else _checked_failure(value)
    return _BY_TYPE.get(_TYPES[cls][name], _from_json)(value)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return b64decode(value["bytes"], validate=True)
    return [_from_json(each) for each in value] if isinstance(value, list) else value


def _read(row: Any, table: dict[str, Read]) -> dict[str, Any]:
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


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false must be here, not {bounded(value)}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"a whole number must be here, not {bounded(value)}")
    return value


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
    return micros(_datetime(value))


def _datetime(value: Any) -> datetime:
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is None:
        raise ValueError(f"{value} names no zone")
    return at


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
    data: bytes = msgpack.packb(_checked_failure(value))
    return data


def _checked_failure(value: Any) -> list[Any]:
    """As `Failure.to_data` has made it."""
    data = _list(value)
    if len(data) != len(_FAILURE):
        raise ValueError(f"a failure has {len(_FAILURE)} parts, not {len(data)}")
    found = []
    for (name, read), part in zip(_FAILURE.items(), data, strict=True):
        try:
            found.append(read(part))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def _header(value: Any) -> bytes:
    Header.load(_packed(value))  # it can be read
    return _packed(value)


def _packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(_from_json(value))
    return data


def _or_none(read: Read) -> Read:
    return lambda value: None if value is None else read(value)


_FAILURE: dict[str, Read] = {
    "type": _text,
    "message": _text,
    "types": lambda value: list(_texts(value)),
    "traceback": _text,
    "cause": _or_none(_checked_failure),
    "details": _or_none(_bytes_from),
}
_PARENT: dict[str, Read] = {
    "uid": _uid,
    "id": _text,
    "run": partial(_count, least=1),
    "command": _count,
    "close": ParentClose,
}
_HEAD: dict[str, Read] = {
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

_TYPES: dict[type[Event], dict[str, Any]] = {
    cls: {field.name: field.type for field in fields(cls)} for cls in KINDS.values()
}
_BY_TYPE: dict[str, Read] = {
    "str": _text,
    "int": _whole,
    "bool": _flag,
    "bytes": _bytes_from,
    "datetime": _datetime,
    "datetime | None": _or_none(_datetime),
}
"""From the annotation of a field of an event to what reads it; the others are of many kinds."""
