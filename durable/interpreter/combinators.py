"""Race, gather and with_timeout: waits that are made of waits.

Rules
-----
* The whole tree is built (checked) before its first leaf is issued.
* A race looks first: if a child is ready, the one made ready by the earliest event wins
  (then the order given), and nothing else is issued.  To look is to guess where children of
  a gather take from one source, or meet branches of one race elsewhere: if the child does
  not settle when it is issued, the race goes on as if it had not been ready.
* It is settled at the moment when its deciding child settles; the losers are withdrawn at
  once.  What they give back is queued, and applied before the next coroutine runs.
* A gather fails at its first failure: the rest is withdrawn, and it raises when the
  activities that it started have ended.
* Cancelled, they cancel their children and wait for those that must be waited for.  The
  first of these to have a value after all wins a race; a gather gives its list if nothing of
  it was cut off.
* A completion costs the same whatever the number of children: they are counted down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from durable.commands import MISSING, Sleep, Winner
from durable.errors import Cancelled, TimeoutExpired
from durable.interpreter.scopes import cancelled
from durable.interpreter.waits import DRAINED, Claims, Wait

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


class Combinator(Wait):
    """A wait with children, in the order given."""

    __slots__ = ("children", "left")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        build = interpreter.build
        self.children: list[Wait] = [
            build(child, self, place) for place, child in enumerate(self.commands())
        ]
        self.left = 0  # children that must still be waited for

    def commands(self) -> Sequence[Any]:
        """What it is made of, in order."""
        commands: Sequence[Any] = self.command.commands
        return commands

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        raise AssertionError(type(self))  # pragma: no cover

    def start(self, first: Sequence[Wait] = ()) -> None:
        """Issue the children in order, until one of them settles this."""
        for child in first or self.children:
            if not child.settled and not child.issued:  # else withdrawn, by one before it
                child.issued = True
                child.issue()

    def withdraw_children(self, drain: bool, keep: Wait | None = None) -> bool:
        """Withdraw the issued ones that have not settled; give back what the settled ones
        had taken. True if some must be waited for."""
        self.left = 0
        for child in self.children:
            if child is keep:
                continue
            if child.settled:
                child.give_back()
            elif not child.issued:
                child.settled = True
            elif child.withdraw(drain):
                self.left += 1
        return self.left > 0

    def cancel_children(self) -> tuple[int, bool]:
        """Cancel those that have not settled: how many must be waited for, and whether any
        was cut off."""
        left, cut = 0, False
        for child in self.children:
            if child.settled:
                continue
            if child.cancel():
                left += 1
            else:
                child.settled = cut = True
        return left, cut

    def withdraw(self, drain: bool) -> bool:
        if self.settled:
            return False
        if self.withdraw_children(drain):
            self.draining = True
            return True
        self.settled = True
        return False

    def drained(self) -> None:
        """One that had to be waited for has ended."""
        self.left -= 1
        if not self.left:
            self.settle(None, DRAINED)

    def give_back(self) -> None:
        for child in self.children:
            if child.settled:
                child.give_back()


class GatherWait(Combinator):
    """``cut``: something of it was cut off by a cancel, so that there is no list to give."""

    __slots__ = ("cut", "failure", "results")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.results: list[Any] = [None] * len(self.children)
        self.failure: BaseException | None = None
        self.cut = False

    def probe(self, claims: Claims) -> int | None:
        latest = 0
        for child in self.children:
            since = child.probe(claims)
            if since is None:
                return None
            latest = max(latest, since)
        return latest

    def issue(self) -> None:
        self.left = len(self.children)
        if self.left:
            self.start()
        else:
            self._complete()

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        if self.draining:
            self.drained()
            return
        if self.failure is not None:
            self.left -= 1
            if not self.left:
                self.settle(None, self.failure)
            return
        if isinstance(error, Cancelled):
            self.cut = True
        elif error is not None:
            if not self.command.return_exceptions:
                self.failure = error
                if not self.withdraw_children(drain=True, keep=wait):
                    self.settle(None, error)
                return
            value = error
        self.results[wait.index] = value
        self.left -= 1
        if not self.left:
            self._complete()

    def cancel(self) -> bool:
        self.left, cut = self.cancel_children()
        self.cut = self.cut or cut
        if self.left:
            return True
        self.settled = True
        self.give_back()
        return False

    def _complete(self) -> None:
        if self.cut:
            self.give_back()
            self.settle(None, cancelled())
            return
        names = self.command.names
        results = self.results if names is None else dict(zip(names, self.results, strict=True))
        self.settle(results, None)


class RaceWait(Combinator):
    __slots__ = ()

    def probe(self, claims: Claims) -> int | None:
        best = self._best(claims)
        if best is not None:
            claims.update(best[2])
            return best[0]
        return None if self.command.default is MISSING else self.interpreter.event_seq

    def _best(self, claims: Claims) -> tuple[int, Wait, Claims] | None:
        """The child that is ready: since when, which, and what has been claimed with it."""
        best: tuple[int, Wait, Claims] | None = None
        for child in self.children:
            own = claims.copy()
            since = child.probe(own)
            if since is not None and (best is None or since < best[0]):
                best = since, child, own
        return best

    def issue(self) -> None:
        best = self._best({})
        if best is not None:
            self.start([best[1]])
        if self.settled:
            return
        if self.command.default is MISSING:
            self.start()
            return
        self.settled = True
        self.withdraw_children(drain=False)
        self.settle(Winner(-1, "default", self.command.default), None)

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        if self.draining:
            self.drained()
            return
        if isinstance(error, Cancelled):
            self.left -= 1
            if not self.left:
                self.settle(None, error)
            return
        self.settled = True
        self.withdraw_children(drain=False, keep=wait)
        if error is not None and not self.command.return_exceptions:
            self.settle(None, error)
            return
        name = self.command.names[wait.index] if self.command.names else None
        self.settle(Winner(wait.index, name, value if error is None else error), None)

    def cancel(self) -> bool:
        self.left, _ = self.cancel_children()
        if self.left:
            return True
        self.settled = True
        return False


class TimedWait(Combinator):
    """A command and a timer; the timer's end is a `TimeoutExpired`."""

    __slots__ = ()

    def commands(self) -> Sequence[Any]:
        return (self.command.command, Sleep(self.command.microseconds))

    def probe(self, claims: Claims) -> int | None:
        return self.children[0].probe(claims)

    def issue(self) -> None:
        self.start()  # no timer if the command is ready

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        if self.draining:
            self.drained()
            return
        self.settled = True
        self.withdraw_children(drain=False, keep=wait)
        if wait.index == 1:
            seconds = self.command.microseconds / 1_000_000
            error = TimeoutExpired(
                f"{self.command.command} did not end within {seconds:g} s", {"kind": "command"}
            )
        self.settle(value, error)

    def cancel(self) -> bool:
        inner, timer = self.children
        if not inner.settled and inner.cancel():
            return True  # in time, at most
        inner.settled = True
        timer.withdraw(drain=False)
        self.settled = True
        return False
