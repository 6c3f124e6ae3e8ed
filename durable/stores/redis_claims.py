"""How work is claimed from several partitions.

Rules
-----
* One partition is asked straight away.  Several are first asked since when something is due in
  each; then what has been due longest is taken from where it is.
* A partition that cannot be reached now gives nothing: the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, TypeVar

from durable.errors import DurableError
from durable.model import Task
from durable.store import Claimed, ClaimedInstance, ClaimRequest, Unavailable
from durable.stores import redis_rows as rows
from durable.stores.redis_agenda import View
from durable.stores.redis_partitions import Partitions

__all__ = ["claim"]

T = TypeVar("T")

OWN_AT_ONCE = 1000
"""How many of its own due instances a claim gives to a worker, of one partition."""

LATER = 1_000_000
"""After so many microseconds a partition is asked again that could not be reached."""


def claim(partitions: Partitions, request: ClaimRequest) -> Claimed:
    """What is due and the worker may take."""
    if partitions.count == 1:
        return _claimed(partitions, partitions.call("claim", 0, *_args(request)))
    kind = (
        *(request.worker, request.queues, request.workflows, request.activities),
        *(request.instances > 0, request.tasks > 0),
    )
    return _Claim(partitions, request, partitions.agenda.view(kind)).run()


def _args(
    request: ClaimRequest, instances: int | None = None, tasks: int | None = None
) -> tuple[Any, ...]:
    return (
        request.worker,
        request.queues,
        request.workflows,
        request.activities,
        request.instances if instances is None else instances,
        request.tasks if tasks is None else tasks,
        OWN_AT_ONCE,
    )


def _claimed(partitions: Partitions, answer: Any) -> Claimed:
    if answer is None:
        return Claimed([], [])
    taken, next_wake_at, more, damaged = answer
    for key in damaged:
        partitions.tell_damaged(key)
    claimed = rows.claimed_from(taken)
    return Claimed(claimed.instances, claimed.tasks, _moment(next_wake_at), bool(more))


def _moment(value: bytes) -> int | None:
    return int(value) if value else None


@dataclass(frozen=True, slots=True)
class _Share:
    """What to take from a partition: what has been due there since these moments.

    due: how much is due there. more: and even more than was told.
    """

    due: int
    more: bool
    instances: list[int]
    tasks: list[int]

    @property
    def is_all(self) -> bool:
        return not self.more and len(self.instances) + len(self.tasks) == self.due


NOTHING = _Share(0, False, [], [])


class _Claim:
    """One claim from several partitions."""

    def __init__(self, partitions: Partitions, request: ClaimRequest, view: View) -> None:
        self._partitions = partitions
        self._request = request
        self._view = view

    def run(self) -> Claimed:
        deaf = not self._partitions.watch.hears
        marks = self._view.to_ask(self._partitions.clock.now(), everywhere=deaf)
        if len(marks) > 1:
            shares, more = self._look(marks)
            requests = {p: self._args(share) for p, share in shares.items()}
        else:
            shares, more = {}, False
            requests = dict.fromkeys(marks, _args(self._request))
        instances: list[tuple[float, ClaimedInstance]] = []
        tasks: list[tuple[float, Task]] = []
        for partition, answer in self._attempt(requests, marks).items():
            part, share = _claimed(self._partitions, answer), shares.get(partition, NOTHING)
            more = more or part.more
            left = part.more or not share.is_all
            self._view.told(partition, marks[partition], part.next_wake_at, left)
            self._partitions.found(partition, (one.instance.uid for one in part.instances))
            self._partitions.found(partition, (task.uid for task in part.tasks))
            instances += zip(chain(share.instances, repeat(math.inf)), part.instances, strict=False)
            tasks += zip(chain(share.tasks, repeat(math.inf)), part.tasks, strict=False)
        return Claimed(_in_order(instances), _in_order(tasks), self._view.next_wake_at(), more)

    def _args(self, share: _Share) -> tuple[Any, ...]:
        return _args(self._request, len(share.instances), len(share.tasks))

    def _look(self, marks: Mapping[int, int]) -> tuple[dict[int, _Share], bool]:
        """What to take from which partitions, and whether something due is left behind."""
        request, more = self._request, False
        looks = self._attempt(dict.fromkeys(marks, (*_args(request), True)), marks)
        instances: list[tuple[int, int]] = []
        tasks: list[tuple[int, int]] = []
        shares: dict[int, _Share] = {}
        for partition, (free, ready, next_wake_at, left, own) in looks.items():
            share = _Share(len(free) + len(ready), bool(left), [], [])
            self._view.told(partition, marks[partition], _moment(next_wake_at), not share.is_all)
            instances += [(since, partition) for since in free]
            tasks += [(since, partition) for since in ready]
            more = more or share.more
            if free or ready or own:
                shares[partition] = share
        for since, partition in sorted(instances)[: request.instances]:
            shares[partition].instances.append(since)
        for since, partition in sorted(tasks)[: request.tasks]:
            shares[partition].tasks.append(since)
        # One without a share may have something of the worker's own.
        more = more or len(instances) > request.instances or len(tasks) > request.tasks
        return shares, more

    def _attempt(
        self, requests: Mapping[int, tuple[Any, ...]], marks: Mapping[int, int]
    ) -> dict[int, Any]:
        """What those partitions answer that can be reached and know the worker."""
        found = {}
        answers = self._partitions.attempt("claim", requests) if requests else {}
        errors = [answer for answer in answers.values() if isinstance(answer, DurableError)]
        for error in errors:
            if len(errors) == len(answers) or not isinstance(error, Unavailable):
                raise error
        for partition, answer in answers.items():
            if isinstance(answer, DurableError):
                later = self._partitions.clock.now() + LATER
                self._view.told(partition, marks[partition], later, more=False)
            elif answer is None:
                self._view.told(partition, marks[partition], None, more=False)
            else:
                found[partition] = answer
        return found


def _in_order(found: list[tuple[float, T]]) -> list[T]:
    """What has been due longest first."""
    return [one for _, one in sorted(found, key=itemgetter(0))]
