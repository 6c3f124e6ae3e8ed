"""What scopes must do, said once more in plain Python: the random programs keep this model
beside the interpreter's own scopes, and compare at every yield and at every end of a block.

It knows nothing of `durable.interpreter.scopes`: the programs tell it which blocks they enter,
what they spawn and what they cancel, the driver which events happen.
"""

from __future__ import annotations

from collections.abc import Iterator

from durable import Cancelled, TimeoutExpired
from durable.events import RUN_DEADLINE, CancelRequested, Event, TimerFired


class Node:
    """A block, or (``outside``) all of a coroutine. since: the event that cancelled it, or
    None; stopped: the event whose deadline did."""

    def __init__(
        self, model: Model, parent: Node | None, shield: bool = False, outside: bool = False
    ) -> None:
        self.model = model
        self.parent = parent
        self.shield = shield
        self.outside = outside
        self.since: int | None = None
        self.stopped: int | None = None
        self.ended = False

    def cancel(self, deadline: bool = False) -> None:
        if self.since is None:
            self.since = self.model.seq
        if deadline and self.stopped is None:
            self.stopped = self.model.seq

    def visible(self) -> Iterator[Node]:
        """The nodes whose cancel it feels: upwards, up to the first shield."""
        node: Node | None = self
        while node is not None:
            yield node
            node = None if node.shield else node.parent

    def cancelled(self) -> bool:
        return any(node.since is not None for node in self.visible())


class Model:
    """All blocks and coroutines of one run. wrong: where the interpreter did not do this."""

    def __init__(self) -> None:
        self.seq = 0
        self.root = Node(self, None, outside=True)
        self.timers: dict[int, Node] = {}  # of open blocks with a time limit
        self.tasks: list[Node] = []
        self.wrong: list[str] = []
        self.over: int | None = None  # since when the end is decided

    def happened(self, event: Event) -> None:
        """Before the interpreter handles it."""
        self.seq = event.seq
        if isinstance(event, CancelRequested):
            self.root.cancel()
        elif isinstance(event, TimerFired):
            if event.command == RUN_DEADLINE:
                self.root.cancel(deadline=True)
            elif event.command in self.timers:
                self.timers[event.command].cancel(deadline=True)

    def spawn(self, parent: Node) -> Node:
        """A task was spawned in this block."""
        task = Node(self, parent, outside=True)
        self.tasks.append(task)
        return task

    def root_ended(self) -> None:
        """Tasks that still run are cancelled."""
        self.root.ended = True
        self._all_end()

    def crashed(self, task: Node) -> None:
        """A callback of `on_signal` has failed: this ends the workflow, if nothing has yet."""
        task.ended = True
        if self.over is None:
            self._all_end()

    def _all_end(self) -> None:
        self.over = self.seq if self.over is None else self.over
        for task in [self.root, *self.tasks]:
            if not task.ended:
                task.cancel()

    # -- what must come of a yield ------------------------------------------------------

    def asked(self, node: Node) -> Asked:
        return Asked(self, node)

    def left(self, node: Node, raised: BaseException | None, timed: int | None) -> str:
        """What must come out of a block: "", "same" (what was raised in it) or "timeout".

        timed: the number of its timer.
        """
        fired = False
        if timed is not None:
            del self.timers[timed]
            fired = node.stopped is not None
        outer = node.parent is not None and not node.shield and node.parent.cancelled()
        mine = isinstance(raised, Cancelled) and node.since is not None and not outer
        if fired and (raised is None or mine):
            return "timeout"
        return "" if raised is None or mine else "same"

    def came(self, expected: str, raised: BaseException | None, out: BaseException | None) -> None:
        """What has come out of a block."""
        if expected == "timeout":
            right = isinstance(out, TimeoutExpired) and out is not raised
        else:
            right = out is (raised if expected == "same" else None)
        if not right:
            self.wrong.append(f"{expected or 'nothing'} must leave the block, not {out!r}")


class Asked:
    """One yield."""

    def __init__(self, model: Model, node: Node) -> None:
        self.model = model
        self.node = node
        self.seq = model.seq
        self.must = node.cancelled()

    def got(self, error: BaseException | None, activities: bool, children: bool) -> None:
        """It is over; it had such parts, whose end is awaited after a cancel."""
        seq = self.model.seq
        nodes = list(self.node.visible())
        since = min((n.since for n in nodes if n.since is not None), default=None)
        stopped = min((n.stopped for n in nodes if n.stopped is not None), default=None)
        remote, over = activities or children, self.model.over
        if not any(node.outside for node in nodes):
            over = None  # a shield keeps it from the end of the root
        if stopped is None and over is not None and since is not None and not activities:
            stopped = max(over, since)  # no child is awaited any more
        if isinstance(error, Cancelled):
            if since is None:
                self._wrong("was cancelled, in no cancelled scope")
            elif self.must and seq != self.seq:
                self._wrong("waited in a cancelled scope")
            elif not self.must and seq != since and (not remote or stopped not in (None, seq)):
                self._wrong(f"was cancelled late, at {seq}: {since}, {stopped}")
        elif self.must:
            self._wrong("was answered in a cancelled scope")
        elif since not in (None, seq) and (not remote or stopped not in (None, seq)):
            self._wrong(f"was answered at {seq}, though cancelled: {since}, {stopped}")

    def _wrong(self, what: str) -> None:
        self.model.wrong.append(f"a yield of event {self.seq} {what}")
