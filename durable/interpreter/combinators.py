"""Race and gather: waits that are made of waits.

Rules
-----
* The whole tree is built (checked) before its first leaf is issued.
* A race looks first: if a child is ready, the one made ready by the earliest event wins
  (then the order given), and nothing else is issued.
* It is settled at the moment when its deciding child settles; the losers are withdrawn at
  once.  What they give back is queued, and applied before the next coroutine runs.
* A gather fails at its first failure: the rest is withdrawn, and it raises when the
  activities that it started have ended.
* A completion costs the same whatever the number of children: they are counted down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable.commands import MISSING, Winner
from durable.interpreter.waits import DRAINED, Wait

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


class Combinator(Wait):
    """A wait with children, in the order given."""

    __slots__ = ("children", "left")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        build = interpreter.build
        self.children: list[Wait] = [
            build(child, self, place) for place, child in enumerate(command.commands)
        ]
        self.left = 0  # children that must still be waited for

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        raise AssertionError(type(self))  # pragma: no cover

    def start(self) -> None:
        """Issue the children in order, until one of them settles this."""
        for child in self.children:
            if not child.settled:  # else withdrawn, by one before it
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
    __slots__ = ("failure", "results")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.results: list[Any] = [None] * len(self.children)
        self.failure: BaseException | None = None

    def probe(self) -> int | None:
        latest = 0
        for child in self.children:
            since = child.probe()
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
        if error is not None:
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

    def _complete(self) -> None:
        names = self.command.names
        results = self.results if names is None else dict(zip(names, self.results, strict=True))
        self.settle(results, None)


class RaceWait(Combinator):
    __slots__ = ()

    def probe(self) -> int | None:
        ready = [since for c in self.children if (since := c.probe()) is not None]
        if ready:
            return min(ready)
        return None if self.command.default is MISSING else self.interpreter.seq

    def issue(self) -> None:
        best: tuple[int, int] | None = None
        for child in self.children:
            since = child.probe()
            if since is not None and (best is None or (since, child.index) < best):
                best = (since, child.index)
        if best is not None:
            chosen = self.children[best[1]]
            for child in self.children:
                child.settled = child is not chosen  # the others are never issued
            self.start()
        elif self.command.default is not MISSING:
            self.settle(Winner(-1, "default", self.command.default), None)
        else:
            self.start()

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        if self.draining:
            self.drained()
            return
        self.settled = True
        self.withdraw_children(drain=False, keep=wait)
        if error is not None and not self.command.return_exceptions:
            self.settle(None, error)
            return
        name = self.command.names[wait.index] if self.command.names else None
        self.settle(Winner(wait.index, name, value if error is None else error), None)
