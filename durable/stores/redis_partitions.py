"""The partitions of a Redis store, and how scripts are run in them.

Rules
-----
* An instance is in the partition that the CRC-32 of its id tells.  Where a uid is has to be
  found out once: an instance never moves.
* What concerns several partitions is one script in each, at the same time, and so not one
  transaction.  If some have failed, what the others did stands: for a call that changes
  something the outcome is unknown then, unless one has refused it for good.
* After each script what it shows of its outbox is carried (`redis_carrier`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from durable.errors import DurableError, OutcomeUnknown
from durable.store import Outgoing, Poison, Unavailable
from durable.stores import redis_rows as rows
from durable.stores.redis_agenda import Agenda
from durable.stores.redis_carrier import carry
from durable.stores.redis_cluster import ClusterLink
from durable.stores.redis_keys import CHANNEL, MAKERS, SCRIPTS, Script, partition_of, tables
from durable.stores.redis_link import Link
from durable.stores.redis_watch import Watch
from durable.stores.server_clock import ServerClock

__all__ = ["Partitions"]

logger = logging.getLogger("durable.store")

LARGEST = 256 * 1024 * 1024
"""Bytes of a request: half of what a server takes as it comes, and it has them twice."""

HOMES = 100_000
"""Of how many instances it is remembered where they are."""

Requests = Mapping[int, tuple[Any, ...]]
"""The arguments of a script, by partition."""


class Partitions:
    """``count`` partitions with this prefix, reached by ``link(moved)``.

    moved: what the link calls after a part of the keys has got another server. secret: gives
    what is known to be that of the store.
    """

    def __init__(
        self,
        link: Callable[[Callable[[], None]], Link | ClusterLink],
        url: str,
        prefix: str,
        count: int,
        secret: Callable[[], bytes],
    ) -> None:
        self.url = url
        self._secret = secret
        self.count = count
        self.all = range(count)
        self.keys = [tables(prefix, number) for number in self.all]
        self.link = link(self._moved)
        self.agenda = Agenda(count)
        channels = {keys[CHANNEL].encode(): number for number, keys in enumerate(self.keys)}
        self.watch = Watch(self.link.listener, channels, self.agenda.changed)
        self.clock = ServerClock(self._ask_time)
        self._names = [tuple(keys.values()) for keys in self.keys]
        self._homes: dict[bytes, int] = {}
        self._damaged: set[bytes] = set()

    def tell_damaged(self, key: bytes) -> None:
        """Log, once, that a row cannot be read. key: a uid, or that of a task."""
        if key not in self._damaged:
            self._damaged.add(key)
            uid, what = key[:16].hex(), "a task" if len(key) > 16 else "the row"
            logger.error(
                "%s: %s of the instance with uid %s is damaged: it rests until that is mended",
                self.url,
                what,
                uid,
            )

    def _moved(self) -> None:
        self.watch.renew()

    def _ask_time(self) -> int:
        seconds, micros = self.link.command("TIME", key=self.keys[0]["settings"])
        return int(seconds) * 1_000_000 + int(micros)

    def forget(self) -> None:
        """In a forked child: begin anew."""
        self.link.forget()
        self.watch.forget()

    # -- running a script ---------------------------------------------------------------

    def call(self, name: str, partition: int, *args: Any) -> Any:
        """Run a script in one partition."""
        script = SCRIPTS[name]
        request = self._request(name, partition, args)
        moment, answer, lanes = self.link.call(script, *request)
        self.clock.told(moment)
        self._note(script, [partition])
        if lanes:
            self._carry({partition: lanes})
        return answer

    def many(self, name: str, requests: Requests) -> dict[int, Any]:
        """Run a script in partitions; what each answers."""
        if len(requests) == 1:
            [(partition, args)] = requests.items()
            return {partition: self.call(name, partition, *args)}
        found = self.attempt(name, requests)
        errors = [answer for answer in found.values() if isinstance(answer, DurableError)]
        if errors:
            raise self._together(SCRIPTS[name], errors, len(found))
        return found

    def every(self, name: str, *args: Any) -> list[Any]:
        """Run a script with the same arguments in all partitions; what each answers."""
        if self.count == 1:
            return [self.call(name, 0, *args)]
        return list(self.many(name, dict.fromkeys(self.all, args)).values())

    def attempt(self, name: str, requests: Requests) -> dict[int, Any]:
        """As `many`, with a `DurableError` as the answer of what has failed."""
        found = self._run(name, requests)
        lanes = {p: one[1] for p, one in found.items() if isinstance(one, tuple) and one[1]}
        if lanes:
            self._carry(lanes)
        return {p: one[0] if isinstance(one, tuple) else one for p, one in found.items()}

    def _run(self, name: str, requests: Requests) -> dict[int, Any]:
        """For each partition (answer, lanes), or a `DurableError`."""
        script = SCRIPTS[name]
        asked = [self._request(name, partition, args) for partition, args in requests.items()]
        found: dict[int, Any] = {}
        latest = 0
        for partition, told in zip(requests, self.link.calls(script, asked), strict=True):
            if isinstance(told, DurableError):
                found[partition] = told
            else:
                moment, answer, lanes = told
                latest = max(latest, moment)
                found[partition] = (answer, lanes)
        if latest:
            self.clock.told(latest)
        self._note(script, requests)
        return found

    def _request(self, name: str, partition: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        try:
            request = rows.pack(args)
        except (UnicodeEncodeError, OverflowError) as error:
            raise Poison(f"{self.url}: {error}") from error
        if len(request) > LARGEST:
            raise Poison(
                f"{self.url}: {len(request):,} bytes at once; at most {LARGEST:,} are sent"
            )
        names = self._names[partition]
        which = "" if name in MAKERS else rows.digest(self._secret())
        return (len(names), *names, request, self.watch.sender, partition, self.count, which)

    def _note(self, script: Script, partitions: Iterable[int]) -> None:
        """What this process does itself it does not hear of."""
        if self.count > 1 and not (script.reads or script.takes):
            self.agenda.changed(partitions)

    def _carry(self, lanes: Mapping[int, Any]) -> None:
        carry(self._run, lanes)
        self.watch.change()

    def _together(self, script: Script, errors: Sequence[DurableError], asked: int) -> DurableError:
        """The error of a call of which these parts have failed."""
        for error in errors:
            if not isinstance(error, Unavailable | OutcomeUnknown):
                return error
        if script.reads or (len(errors) == asked and _all_unavailable(errors)):
            return errors[0]
        return OutcomeUnknown(f"{errors[0]}; other parts of the call took effect")

    # -- where things are ---------------------------------------------------------------

    def of_id(self, id: str) -> int:
        """Where the instance with this id is."""
        if self.count == 1:
            return 0
        try:
            return partition_of(id, self.count)
        except UnicodeEncodeError as error:
            raise Poison(f"{self.url}: {error}") from error

    def of_uid(self, uid: bytes) -> int:
        """Where the instance with this uid is; any partition if there is none."""
        return next(iter(self.by_uid([uid])))

    def by_id(self, ids: Sequence[str]) -> dict[int, list[int]]:
        """The places in the sequence, by the partition of what stands there."""
        return _by(self.of_id(id) for id in ids)

    def by_uid(self, uids: Sequence[bytes]) -> dict[int, list[int]]:
        """The places in the sequence, by the partition of what stands there."""
        if self.count == 1:
            return {0: list(range(len(uids)))} if uids else {}
        homes = self._homes_of(uids)
        return _by(homes[uid] or 0 for uid in uids)

    def _homes_of(self, uids: Sequence[bytes]) -> dict[bytes, int | None]:
        """Where the instances with these uids are; None if there is none."""
        homes = {uid: self._homes.get(uid) for uid in uids}
        unknown = [uid for uid, home in homes.items() if home is None]
        if unknown:
            for partition, found in enumerate(self.every("locate", unknown)):
                homes.update(dict.fromkeys(found, partition))
                self.found(partition, found)
        return homes

    def of_messages(self, messages: Sequence[Outgoing]) -> dict[int, list[int]]:
        """The places of messages, by the partition of whom they are for. One that has a uid and
        is not there yet will be where its id tells."""
        if self.count == 1:
            return {0: list(range(len(messages)))} if messages else {}
        homes = self._homes_of([message.uid for message in messages if message.uid])
        return _by(
            self.of_id(message.id) if home is None else home
            for message in messages
            for home in [homes.get(message.uid or b"")]
        )

    def found(self, partition: int, uids: Iterable[bytes]) -> None:
        """These instances are there."""
        if self.count > 1:
            if len(self._homes) > HOMES:
                self._homes.clear()
            self._homes.update(dict.fromkeys(uids, partition))

    def spread(
        self,
        name: str,
        parts: Mapping[int, list[int]],
        args: Callable[[list[int]], tuple[Any, ...]],
    ) -> list[Any]:
        """Run a script that answers for each of its items, where these are.

        parts: the places of the items, by partition. args: of the script for these places.
        """
        requests = {partition: args(places) for partition, places in parts.items()}
        answers: dict[int, Any] = {}
        for partition, told in self.many(name, requests).items():
            answers.update(zip(parts[partition], told, strict=True))
        return [answers[place] for place in sorted(answers)]


def _by(partitions: Iterable[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, partition in enumerate(partitions):
        found.setdefault(partition, []).append(place)
    return found


def _all_unavailable(errors: Sequence[DurableError]) -> bool:
    return all(isinstance(error, Unavailable) for error in errors)
