"""Channels between the coroutines of one workflow.

Rules
-----
* A send waits until there is room in the buffer or somebody receives; a receive waits until
  there is a value.  Who has waited longest is served first.
* Branches of one race never meet each other, for only one of them may happen; branches of a
  gather do.  Their lowest common ancestor in the tree of waits tells.
* A value that was received is not put back: its sender has gone on.
* On a closed channel a send raises `ChannelClosed`, those that wait included; a receive
  takes what is left, and then raises it, or gives its default.
* Nothing of this is recorded: in a replay the same things meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from inspect import isgenerator
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from durable.commands import MISSING, ChannelReceive, ChannelSend, Command, Request, made
from durable.current import acting
from durable.errors import ChannelClosed, UsageError
from durable.interpreter.combinators import RaceWait
from durable.interpreter.waits import Claims, Wait, claim

D = TypeVar("D")
T = TypeVar("T")


class Channel(Generic[T]):
    """A way from coroutine to coroutine, inside one workflow.

    capacity: how many values it holds; with 0 (the default) a send waits for its receive.
    Raises `UsageError` outside a workflow, `ValueError` for a negative capacity.

    >>> jobs: Channel[str] = Channel()
    >>> spawn(worker(jobs))
    >>> yield jobs.send("one")
    >>> jobs.close()
    """

    def __init__(self, capacity: int = 0) -> None:
        coroutine = acting("Channel")
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"Channel takes a number of values, not {capacity!r}")
        if capacity < 0:
            raise ValueError(f"Channel({capacity}): a capacity is 0 or more")
        self.capacity = capacity
        self.closed = False
        self._interpreter = coroutine.interpreter
        self._closed_at = 0
        self._buffer: deque[tuple[int, T]] = deque()
        self._receivers: dict[ChannelReceiveWait, None] = {}
        self._senders: dict[ChannelSendWait, None] = {}

    def __repr__(self) -> str:
        return f"<Channel of {self.capacity}>"

    def __len__(self) -> int:
        """How many values it holds."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    if not TYPE_CHECKING:  # so that type checkers refuse it, too

        def __iter__(self) -> Any:
            raise TypeError(
                "a channel cannot be iterated without yielding: write `yield from "
                "channel.each(fn)`, or `while (x := (yield channel.receive(default=None))) is "
                "not None:`"
            )

    def send(self, value: T) -> Request[None]:
        """Put a value in; waits while it is full. Raises `ChannelClosed` when yielded."""
        return made(ChannelSend(self, value))

    @overload
    def receive(self) -> Request[T]: ...
    @overload
    def receive(self, default: D) -> Request[T | D]: ...
    def receive(self, default: Any = MISSING) -> Request[Any]:
        """Take the next value out; waits while it is empty.

        default: what is given when it is closed and empty, instead of `ChannelClosed`.
        """
        return made(ChannelReceive(self, default))

    def each(self, fn: Callable[[T], Any]) -> Generator[Command[Any], Any, None]:
        """Call a function, or run a generator function, for each value until it is closed
        and empty: ``yield from channel.each(handle)``."""
        while True:
            value = yield ChannelReceive(self, MISSING_VALUE)
            if value is MISSING_VALUE:
                return
            result = fn(value)
            if isgenerator(result):
                yield from result

    def close(self) -> None:
        """No more values. Those that wait to send get `ChannelClosed`; a second time changes
        nothing."""
        acting("Channel.close")
        with self._interpreter.verb(self):
            if self.closed:
                return
            self.closed = True
            self._closed_at = self._interpreter.event_seq
            while self._senders:
                self._first(self._senders).refuse()
            while self._receivers:
                self._first(self._receivers).refuse()

    @staticmethod
    def _first(waits: dict[Any, None]) -> Any:
        wait = next(iter(waits))
        del waits[wait]
        return wait


MISSING_VALUE: Any = object()


class ChannelWait(Wait):
    """What sends and receives share."""

    __slots__ = ("since",)

    def __init__(self, interpreter: Any, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.since = 0
        if command.channel._interpreter is not interpreter:
            raise UsageError(f"{command.channel} belongs to another instance")

    @property
    def waits(self) -> dict[Any, None]:
        raise AssertionError(type(self))  # pragma: no cover

    def park(self) -> None:
        self.since = self.interpreter.event_seq
        self.waits[self] = None

    def partner(self, waits: dict[Any, None]) -> Any:
        """Who has waited longest among those that it may meet; taken out."""
        for wait in waits:
            if not _rivals(self, wait):
                del waits[wait]
                return wait
        return None

    def can_meet(self, waits: dict[Any, None], place: int) -> int | None:
        """Since when the n-th of them waits that it may meet, from 0."""
        since = (wait.since for wait in waits if not _rivals(self, wait))
        return next(islice(since, place, None), None)

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            self.waits.pop(self, None)
        return False


class ChannelSendWait(ChannelWait):
    __slots__ = ()

    @property
    def waits(self) -> dict[Any, None]:
        waits: dict[Any, None] = self.command.channel._senders
        return waits

    def probe(self, claims: Claims) -> int | None:
        channel = self.command.channel
        place = claim(claims, (ChannelSendWait, channel))
        if channel.closed:
            closed_at: int = channel._closed_at
            return closed_at
        room = channel.capacity - len(channel._buffer)
        return 0 if place < room else self.can_meet(channel._receivers, place - room)

    def issue(self) -> None:
        channel = self.command.channel
        if channel.closed:
            self.refuse()
            return
        receiver = self.partner(channel._receivers)
        if receiver is not None:
            receiver.settle(self.command.value, None)
            self.settle(None, None)
        elif len(channel._buffer) < channel.capacity:
            channel._buffer.append((self.interpreter.event_seq, self.command.value))
            self.settle(None, None)
        else:
            self.park()

    def refuse(self) -> None:
        self.settle(None, ChannelClosed(f"{self.command.channel} is closed"))


class ChannelReceiveWait(ChannelWait):
    __slots__ = ()

    @property
    def waits(self) -> dict[Any, None]:
        waits: dict[Any, None] = self.command.channel._receivers
        return waits

    def probe(self, claims: Claims) -> int | None:
        channel = self.command.channel
        place, held = claim(claims, (ChannelReceiveWait, channel)), len(channel._buffer)
        if place < held:
            arrived: int = channel._buffer[place][0]
            return arrived
        since = self.can_meet(channel._senders, place - held)
        if since is None and channel.closed:
            since = channel._closed_at
        return since

    def issue(self) -> None:
        channel = self.command.channel
        if channel._buffer:
            _, value = channel._buffer.popleft()
            sender = self.partner(channel._senders)  # there is room for one who waits
            if sender is not None:
                channel._buffer.append((self.interpreter.event_seq, sender.command.value))
                sender.settle(None, None)
            self.settle(value, None)
            return
        sender = self.partner(channel._senders)
        if sender is not None:
            value = sender.command.value
            sender.settle(None, None)
            self.settle(value, None)
        elif channel.closed:
            self.refuse()
        else:
            self.park()

    def refuse(self) -> None:
        if self.command.default is MISSING:
            self.settle(None, ChannelClosed(f"{self.command.channel} is closed and empty"))
        else:
            self.settle(self.command.default, None)


def _rivals(one: Wait, other: Wait) -> bool:
    """Whether only one of the two may happen: they are branches of one race."""
    above = set()
    node: Any = one
    while isinstance(node, Wait):
        above.add(node)
        node = node.parent
    node = other
    while isinstance(node, Wait):
        if node in above:
            return isinstance(node, RaceWait)
        node = node.parent
    return False
