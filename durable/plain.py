"""Any value that can be stored, as one that JSON has."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """The value for JSON: moments as ISO-8601, bytes as base64, sets and tuples as lists,
    Decimal and UUID as text, durations as seconds, what is not finite as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(each) for each in sorted(value, key=_order)]
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return _other(value)


def _other(value: Any) -> Any:
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)


def _iso(value: datetime) -> str:
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if value.tzinfo is UTC else text


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key.value) if isinstance(key, Enum) else key
    shown = plain(key)
    if isinstance(shown, bool) or shown is None:
        return {True: "true", False: "false", None: "null"}[shown]
    return str(shown)


def _order(value: Any) -> tuple[str, Any]:
    """Numbers by size, everything else by its text."""
    if isinstance(value, int | float):
        return "", value
    return type(value).__name__, repr(value)
