"""The checker: one program for every campaign.

It reads the store, what clients were told (`campaign_log`) and the ledger of executions, and
finds what contradicts the promises of the library.  Nobody may be at work meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import campaign_flows
from campaign_flows import NEWS, TELL
from campaign_log import Log, Outcome, Story

from durable import Client
from durable.codec import Codec
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    Event,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    SignalSent,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    load,
)
from durable.model import Instance, Status
from durable.registry import Registry
from durable.runner.held import revive
from durable.store import Filter, Store

ASKED = (ActivityScheduled, TimerStarted, ChildStarted, SignalSent)
ANSWERED = (
    *(ActivityCompleted, ActivityFailed, ActivityCancelled, TimerFired, TimerCancelled),
    *(ChildCompleted, ChildFailed, SignalDelivered, SignalFailed),
)
KNOWN = Registry([campaign_flows], (), ())


class Execution(NamedTuple):
    """One execution of an activity, as it began. at: in seconds since 1970."""

    id: str
    command: int
    attempt: int
    pid: int
    at: float


@dataclass
class Findings:
    """What is wrong, each in a line. lost: was acknowledged. twice: happened more than once.
    stuck: has not ended. wrong: anything else. executions: of activities, and again: those
    that gave no result."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    executions: int = 0
    again: int = 0

    @property
    def all(self) -> list[str]:
        return [
            f"{kind}: {line}"
            for kind in ("lost", "twice", "stuck", "wrong")
            for line in getattr(self, kind)
        ]


@dataclass(frozen=True)
class Ended:
    """One instance with the history of its last run."""

    row: Instance
    stored: list[tuple[int, bytes]]
    events: list[Event]

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def heard(self, name: str) -> list[Any]:
        """The values of its signals with a name."""
        signals = [event for event in self.of(SignalReceived) if event.name == name]
        return [Codec().decode(event.value) for event in signals]


def everything(store: Store) -> dict[str, Ended]:
    """All instances, by id."""
    rows: list[Instance] = []
    where = Filter(limit=1000)
    while True:
        page = store.instances(where)
        rows += page.rows
        if page.cursor is None:
            break
        where = replace(where, cursor=page.cursor)
    histories = store.history([(row.uid, row.run) for row in rows]) if rows else []
    return {
        row.id: Ended(row, stored, [load(data, seq) for seq, data in stored])
        for row, stored in zip(rows, histories, strict=True)
    }


def check(client: Client, log: Log, ran: Iterable[Execution]) -> Findings:
    """Everything against everything. ran: the ledger."""
    found = Findings()
    there = everything(client.store)
    ledger = Counter((one.id, one.command) for one in ran)
    for story in log.stories:
        _check_story(found, story, there)
    known = {story.id for story in log.stories}
    for id, ended in there.items():
        _check_history(found, client.store, ended, ledger)
        parent = ended.row.parent
        if (id if parent is None else parent.id) not in known:
            found.twice.append(f"nobody has started {id}")
    results = sum(len(ended.of(ActivityCompleted)) for ended in there.values())
    found.executions = ledger.total()
    found.again = found.executions - results
    stats = client.store.stats()
    left = (stats.tasks_waiting, stats.tasks_running, stats.messages)
    if any(left):
        found.stuck.append(f"(tasks waiting, tasks running, messages) are left: {left}")
    return found


def _check_story(found: Findings, story: Story, there: dict[str, Ended]) -> None:
    """What a client was told of an instance against what became of it."""
    id, ended = story.id, there.get(story.id)
    if ended is None:
        if Outcome.ACKNOWLEDGED in story.starts:
            found.lost.append(f"the start of {id}")
        return
    if set(story.starts) == {Outcome.FAILED}:
        found.wrong.append(f"{id} exists, whose start failed")
    _check_signals(found, story, ended)
    cancels, requests = Counter(story.cancels), len(ended.of(CancelRequested))
    if requests < cancels[Outcome.ACKNOWLEDGED]:
        found.lost.append(f"a cancel of {id}")
    if requests > cancels[Outcome.ACKNOWLEDGED] + cancels[Outcome.UNKNOWN]:
        found.twice.append(f"a cancel of {id}")
    _check_end(found, story, ended)


def _check_signals(found: Findings, story: Story, ended: Ended) -> None:
    heard = Counter(ended.heard(TELL))
    for value, outcome in story.told:
        if outcome is Outcome.ACKNOWLEDGED and not heard[value]:
            found.lost.append(f"signal {value} to {story.id}")
        if outcome is Outcome.FAILED and heard[value]:
            found.wrong.append(f"signal {value} to {story.id} failed, and has come")
    found.twice += [f"signal {value} to {story.id}" for value in heard if heard[value] > 1]
    told = [value for value, _ in story.told]
    if not heard.keys() <= set(told):
        found.wrong.append(f"{story.id} was never told {heard.keys() - set(told)}")
    elif ended.heard(TELL) != [value for value in told if heard[value]]:
        found.wrong.append(f"{story.id} was told {told}, and heard {ended.heard(TELL)}")


def _check_end(found: Findings, story: Story, ended: Ended) -> None:
    row = ended.row
    if not row.status.finished:
        found.stuck.append(f"{row.id} is {row.status}: {row.reason or row.owner or 'nothing'}")
    elif story.result is None:
        if row.status is not Status.CANCELLED:
            found.wrong.append(f"{row.id} is {row.status}, and was cancelled")
    elif row.status is not Status.COMPLETED or row.result is None:
        found.wrong.append(f"{row.id} is {row.status}: {row.reason}")
    else:
        expected = [*story.result, *ended.heard(TELL)[:-1]]
        if Codec().decode(row.result) != expected:
            found.wrong.append(f"{row.id} gives {Codec().decode(row.result)}, not {expected}")
        if len(ended.heard(NEWS)) != story.has_child:
            found.twice.append(f"{row.id} heard of its child {len(ended.heard(NEWS))} times")


def _check_history(
    found: Findings, store: Store, ended: Ended, ledger: Counter[tuple[str, int]]
) -> None:
    """That a history is whole, and is what its code does."""
    id = ended.row.id
    if [seq for seq, _ in ended.stored] != list(range(len(ended.stored))):
        found.lost.append(f"events of {id}: there are {[seq for seq, _ in ended.stored]}")
        return
    for kinds, what in ((ASKED, "is asked for"), (ANSWERED, "has a result")):
        numbers = Counter(event.command for event in ended.of(*kinds))
        found.twice += [
            f"command {number} of {id} {what} {times} times"
            for number, times in numbers.items()
            if times > 1
        ]
    due = {event.command: event.due_at for event in ended.of(TimerStarted)}
    for event in ended.of(TimerFired):
        if event.command in due and event.at < due[event.command]:
            found.wrong.append(f"timer {event.command} of {id} fired at {event.at}, too early")
    for event in ended.of(ActivityCompleted):
        if not ledger[id, event.command]:
            found.wrong.append(f"{id} has a result of what never ran: {event.command}")
    _check_replay(found, store, ended)


def _check_replay(found: Findings, store: Store, ended: Ended) -> None:
    """Its code, given its history, asks for what it asked for, and ends as it has ended."""
    definition = KNOWN.workflow(ended.row.workflow, ended.row.version)
    assert definition is not None, ended.row.workflow
    try:
        again = revive(
            ended.row, len(ended.stored), definition, ended.stored, Codec(), store.secret
        )
    except Exception as error:
        found.wrong.append(f"{ended.row.id} cannot be replayed: {error}")
        return
    if (again.ending is not None) is not ended.row.status.finished:
        found.wrong.append(f"{ended.row.id} is {ended.row.status}, and a replay says otherwise")
    again.close()
