"""Where a workflow is, in words: what is printed for people.

Each thing that comes from a workflow or from somebody outside is escaped by itself: a name or
a message with a line break in it cannot look like a line of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from textwrap import dedent
from typing import TYPE_CHECKING

from durable.interpreter import Waiting
from durable.reprs import escape

if TYPE_CHECKING:
    from durable.client.whereabouts import CoroutinePlace, Frame, Where

MAX_PARTS = 20
MAX_COROUTINES = 100

ShowMoment = Callable[[datetime], str]

_WORDS = {
    "activity": "activity {}",
    "child": "child {}",
    "timer": "{}",
    "signal": "signal {}",
    "send_signal": "the delivery of signal {}",
    "promise": "promise {}",
    "task": "task {}",
    "channel": "{}",
    "condition": "a condition: {}",
    "side_effect": "{}",
    "gather": "gather: {}",
    "race": "race: {}",
    "with_timeout": "a command, at most {}",
}


def utc(at: datetime) -> str:
    """``2026-05-04 13:00:00Z``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def where_lines(where: Where, moment: ShowMoment | None = None) -> Iterator[str]:
    """The whole of it. moment: how moments are shown; None is UTC, and only of what is due."""
    version = "" if where.version is None else f" version {where.version}"
    workflow = f"{escape(where.workflow)}{version}"
    yield f"{escape(where.id)}: {workflow}, run {where.run}, {_state(where)}"
    if where.seq is None:
        yield "nothing has happened yet" if not where.length else "before the first event"
    else:
        last = where.length - 1
        at = "" if moment is None or where.at is None else f", {moment(where.at)}"
        yield f"after event {where.seq}{' of ' + str(last) if where.seq < last else ''}{at}"
    if where.problem is not None:
        yield f"the code does not follow this history: {escape(where.problem)}"
    if where.cancel is not None and where.problem is None:
        yield f"its cancel was requested{_because(where.cancel)}"
    if where.ended is not None:
        yield f"ended: {escape(where.ended)}"
    if where.ended is not None or where.raised:
        waited = [_lines(place.frames) for place in where.coroutines]
        for frame in where.raised if _lines(where.raised) not in waited else ():
            yield from _frame_lines(frame)
        if where.coroutines:
            yield "just before that:"
    if where.unread:
        yield f"signals that nobody has read: {', '.join(map(escape, where.unread))}"
    if where.arrived:
        yield f"arrived, and not applied yet: {', '.join(map(escape, where.arrived))}"
    for place in where.coroutines[:MAX_COROUTINES]:
        yield ""
        yield from coroutine_lines(place, moment or utc)
    more = len(where.coroutines) - MAX_COROUTINES
    if more > 0:
        yield ""
        yield f"and {more} more coroutines"


def coroutine_lines(place: CoroutinePlace, moment: ShowMoment = utc) -> Iterator[str]:
    """One coroutine."""
    name = "root" if place.name == "root" else f"task {escape(place.name)}"
    if place.waits_for is not None:
        yield f"{name} waits for {_waiting(place.waits_for, moment)}"
        yield from _parts(place.waits_for, moment, "    ")
    elif place.failed:
        yield f"{name} has failed, and nobody has waited for it: {escape(place.failed)}"
    else:
        yield f"{name} was about to go on"
    if place.deadline is not None:
        yield f"    at the latest until {moment(place.deadline)}: its block has a timeout"
    for frame in place.frames:
        yield from _frame_lines(frame)


def _state(where: Where) -> str:
    return str(where.status) if where.ended else f"{where.status}{_because(where.reason)}"


def _because(reason: str) -> str:
    return f": {escape(reason)}" if reason else ""


def _waiting(waiting: Waiting, moment: ShowMoment) -> str:
    text = _WORDS[waiting.kind].format(escape(waiting.what))
    if waiting.name:
        text = f"{escape(waiting.name)}: {text}"
    if waiting.done:
        return f"{text} (over)"
    if waiting.due_at is not None:
        until = "due" if waiting.kind == "timer" else "at the latest"
        text += f", {until} {moment(waiting.due_at)}"
    if waiting.note:
        text += f", {escape(waiting.note)}"
    return f"{text}, asked to stop" if waiting.asked_to_stop else text


def _parts(waiting: Waiting, moment: ShowMoment, indent: str) -> Iterator[str]:
    parts = waiting.parts
    if len(parts) > MAX_PARTS:
        parts = tuple(part for part in parts if not part.done)[:MAX_PARTS]
    for part in parts:
        yield f"{indent}{_waiting(part, moment)}"
        yield from _parts(part, moment, indent + "    ")
    if len(waiting.parts) > len(parts):
        yield f"{indent}and {len(waiting.parts) - len(parts)} more"


def _lines(frames: Iterable[Frame]) -> list[tuple[str, int]]:
    return [(frame.file, frame.line) for frame in frames]


def _frame_lines(frame: Frame) -> Iterator[str]:
    yield f"  {escape(_short(frame.file))}:{frame.line}, in {escape(frame.function)}"
    texts = dedent("\n".join(escape(text, "\t") for _, text in frame.source)).split("\n")
    width = len(str(frame.source[-1][0])) if frame.source else 0
    for (number, _), text in zip(frame.source, texts, strict=False):
        mark = ">" if number == frame.line else " "
        yield f"  {mark} {number:{width}}  {text}".rstrip()
    for name, text in frame.locals.items():
        yield f"      {escape(name)} = {escape(text)}"


def _short(file: str) -> str:
    """The path from the current directory, if the file is below it."""
    here = os.getcwd() + os.sep
    return file.removeprefix(here)
