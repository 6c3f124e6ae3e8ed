"""Values as text for people: escaped, shortened, moments in their zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from durable.plain import plain
from durable.reprs import arguments_text, escape


def shorten(text: str, width: int | None) -> str:
    """At most ``width`` characters; None is no limit."""
    if width is None or len(text) <= width:
        return text
    return text[: max(0, width - 1)] + "…"


def counted(number: int, one: str, many: str = "") -> str:
    """``1 event``, ``2 events``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def value_text(value: Any, width: int | None = None) -> str:
    """A value as JSON on one line."""
    return shorten(escape(json.dumps(plain(value), ensure_ascii=False)), width)


def call_text(name: str, args: Any, kwargs: Any, width: int | None = None) -> str:
    """``name('o-1', 500, fast=True)``."""
    return f"{escape(name)}({shorten(escape(arguments_text(args, kwargs)), width)})"


def moment_text(at: datetime | None, utc: bool) -> str:
    """``2026-05-04 13:00:00``, in local time, or ``…Z`` in UTC; "" for None."""
    if at is None:
        return ""
    if utc:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def duration_text(duration: timedelta | float) -> str:
    """``0.012s``, ``4.2s``, ``1h30m``, ``2d4h``."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 1:
        return f"{seconds:.3f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    first = next(place for place, (_, size) in enumerate(units) if whole >= size)
    parts = []
    for name, size in units[first : first + 2]:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts)
