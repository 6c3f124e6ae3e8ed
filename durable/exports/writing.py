"""From an instance to lines."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any

import msgpack

from durable.codec import Codec
from durable.errors import PayloadError
from durable.events import Event, load
from durable.exports.export import FORMAT, PACKED, PAYLOADS, Export
from durable.model import Parent, micros, moment
from durable.plain import plain


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
        **{name: _payload(getattr(one, name), codec) for name in PAYLOADS},
        "vars": {name: _payload(value, codec) for name, value in variables.items()},
        **{name: _unpacked(getattr(one, name)) for name in PACKED},
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
