"""Moments that come from outside: aware datetimes that the store can hold."""

from __future__ import annotations

from datetime import UTC, datetime


def checked_moment(at: datetime, what: str) -> datetime:
    """The datetime, if it is aware and stands for a moment in the years 1 to 9999 in UTC.

    what: begins the message of the error: "sleep_until".
    """
    if not isinstance(at, datetime):
        raise TypeError(f"{what} takes an aware datetime, not {at!r}")
    try:
        aware = at.utcoffset() is not None
        if aware:
            at.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            f"{what} cannot be {at}: it is outside the years 1 to 9999 in UTC"
        ) from None
    if not aware:
        raise ValueError(f"{what} takes an aware datetime; {at!r} has no time zone")
    return at
