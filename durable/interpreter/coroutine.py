"""One coroutine of a workflow: a generator that is driven, ended and closed here.

Rules
-----
* Each coroutine has a `contextvars.Context` of its own; sending, throwing and closing run
  in it.
* A suspended generator is never left to the garbage collector, which would run its
  ``finally`` blocks inside somebody else's step: `close` throws `GeneratorExit` until it has
  ended, and meanwhile every verb and command raises `GeneratorExit`, so that clean-up code
  that uses them leaves at once.  After `MAX_RAISES` of these verbs return again (code that
  swallows them must reach a yield), and after `MAX_THROWS` the generator is kept for ever.
* A command that was created and never used is reported when its coroutine ends normally.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextvars import Context, copy_context
from copy import copy
from types import FrameType
from typing import TYPE_CHECKING, Any

from durable.commands import Command
from durable.current import raised, running
from durable.errors import Cancelled, TaskCancelled, UsageError
from durable.failure import PACKAGE
from durable.interpreter.aborted import StepAborted
from durable.interpreter.ending import coroutine_ended
from durable.interpreter.forgotten import report_forgotten
from durable.interpreter.scopes import Scope, cancelled

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.waits import Wait

logger = logging.getLogger("durable.workflow")

MAX_RAISES = 50
MAX_THROWS = 100
_UNCLOSABLE: list[Any] = []


class Coroutine:
    """The root of a workflow, or a task that it has spawned."""

    __slots__ = (
        "birth", "calls", "context", "ended", "ended_at", "error", "gen", "handler",
        "interpreter", "joined", "joiners", "last", "name", "named", "own", "path", "raises",
        "returned_at", "scope", "spawned", "turns", "value", "vital", "waiting",
    )  # fmt: skip

    def __init__(
        self, interpreter: Interpreter, path: str, name: str, birth: int, within: Scope | None
    ) -> None:
        self.interpreter = interpreter
        self.path = path
        self.name = name
        self.birth = birth
        self.own = self.scope = Scope(self, within)
        self.handler = ""  # the name of the signal that it reads for `on_signal`
        self.vital = False  # its failure fails the workflow at once
        self.gen: Any = None
        # That of a worker's thread is nothing to the workflow: its root has an empty one.
        self.context = Context() if within is None else copy_context()
        self.context.run(running.set, self)
        self.turns = 0  # yields so far
        self.calls = 0  # derived values since the last yield
        self.spawned = 0
        self.named: dict[str, int] | None = None  # how many of each name it has spawned
        self.last: Any = None  # the command whose result it is resumed with
        self.waiting: Wait | None = None
        self.joiners: dict[Wait, None] | None = None
        self.ended = False
        self.joined = 0  # how many have its outcome
        self.ended_at = 0
        self.value: Any = None
        self.error: BaseException | None = None
        self.returned_at = ""  # in a replay: its line
        self.raises = 0

    # -- driving ------------------------------------------------------------------------

    def resume(self, value: Any, error: BaseException | None) -> None:
        """Run to the next yield, which is issued, or to the end."""
        self.turns += 1
        self.calls = 0
        # A generator that has ended has none any more.
        frame = getattr(self.gen, "gi_frame", None) if self.interpreter.replaying else None
        try:
            if error is None:
                command = self.context.run(self.gen.send, value)
            else:
                command = self.context.run(self.gen.throw, error)
        except StopIteration as stop:
            if frame is not None:
                self.returned_at = line_of(frame, frame.f_lineno)
            self.end(stop.value, None)
        except StepAborted:
            raise
        except BaseException as wrong:
            self.end(None, _explained(wrong))
        else:
            self.last = command
            self.interpreter.issue(self, command)

    def child_settled(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        """What it waits for has ended: it is ready to run."""
        self.waiting = None
        self.interpreter.ready.append((self, value, error))

    def cancel_wait(self, deadline: bool) -> None:
        """Its scope was cancelled: it stops waiting, now or when what it waits for has ended.
        If it does not wait, its next yield raises."""
        wait = self.waiting
        if wait is None:
            return
        if deadline:
            wait.withdraw(drain=False)
        elif wait.cancel():
            return
        self.waiting = None
        self.interpreter.ready.append((self, None, cancelled()))

    def end(self, value: Any, error: BaseException | None) -> None:
        """Its generator has returned or raised."""
        self.interpreter.check_whole()
        self.ended = True
        self.ended_at = self.interpreter.event_seq
        self.value, self.error = value, error
        self.gen = None
        self.own.leave()
        if error is None:
            report_forgotten(self.interpreter, self)
        else:
            raised(error)
        coroutine_ended(self.interpreter, self)
        joiners, self.joiners = self.joiners, None
        for wait in list(joiners or ()):
            if not wait.settled:
                wait.settle(*self.outcome())

    def spawns(self, name: str | None) -> tuple[int, str]:
        """It spawns another: its number, and its path, which no other has."""
        number = self.spawned
        self.spawned = number + 1
        if not name:
            return number, f"{self.path}/{number}"
        if self.named is None:
            self.named = {}
        before = self.named[name] = self.named.get(name, -1) + 1
        same = f"\0{before}" if before or name.isdigit() else ""
        return number, f"{self.path}/{name}{same}"

    def derive(self) -> tuple[bytes, str, int, int]:
        """What the next derived value derives from."""
        self.calls += 1
        return self.interpreter.seed, self.path, self.turns, self.calls

    # -- results ------------------------------------------------------------------------

    def outcome(self) -> tuple[Any, BaseException | None]:
        """(value, error) for somebody who joins; the error is a fresh copy each time."""
        self.joined += 1
        if self.error is None:
            return self.value, None
        if isinstance(self.error, Cancelled):
            return None, TaskCancelled(f"task {self.name} was cancelled")
        return None, _copy(self.error)

    def unjoin(self) -> None:
        """Its outcome did not reach one who joined it: without others a failure is nobody's."""
        self.joined -= 1
        if self.failed and not self.joined:
            self.interpreter.failures.setdefault(self)

    @property
    def failed(self) -> bool:
        """Whether it has ended by an error (a cancel is none)."""
        return self.error is not None and not isinstance(self.error, Cancelled)

    def result(self) -> Any:
        if not self.ended:
            raise UsageError(f"task {self.name} has not ended: `yield` it to wait for it")
        value, error = self.outcome()
        if error is not None:
            raise error
        return value

    # -- what verbs and commands ask ----------------------------------------------------

    def check_open(self) -> None:
        """Raise `GeneratorExit` while it is being closed."""
        if self.interpreter.closing:
            self.raises += 1
            if self.raises <= MAX_RAISES:
                raise GeneratorExit

    def made(self, command: Any, frame: FrameType) -> None:
        if self.interpreter.closing:
            self.check_open()
        self.interpreter.unused[id(command)] = (command, frame.f_code, frame.f_lineno, self)

    def resumed_by(self, command: Any) -> bool:
        return self.last is command

    # -- looking and closing ------------------------------------------------------------

    def frames(self) -> list[FrameType]:
        """The frames of its generators, outermost first, users' ones only; while it runs those
        of the functions that they call, too."""
        frames = []
        gen = self.gen
        if getattr(gen, "gi_running", False) and (stack := _stack_from(gen.gi_frame)):
            return stack
        while isinstance(gen, Generator) and not isinstance(gen, Command):
            frame = getattr(gen, "gi_frame", None)
            if frame is not None and _is_users(frame):
                frames.append(frame)
            gen = getattr(gen, "gi_yieldfrom", None)
        return frames

    def line(self) -> str:
        """file:line, in function — where it waits."""
        frames = self.frames()
        if not frames:
            return self.interpreter.definition.where
        return line_of(frames[-1], frames[-1].f_lineno)

    def close(self) -> None:
        """Drop its generator without effect; see the rules above."""
        gen, self.gen = self.gen, None
        for _ in range(MAX_THROWS):
            if gen is None:
                return
            try:
                self.context.run(gen.throw, GeneratorExit)
            except BaseException:  # it has ended, and how is of no matter
                return
        _UNCLOSABLE.append(gen)
        logger.warning("%s swallows GeneratorExit: it is kept in memory", gen)

    def unlink(self) -> None:
        """Let go of what refers to it, when all is over: most workflows then leave no cycle
        for the garbage collector, which takes half as long (measured)."""
        del self.context, self.own, self.scope


def line_of(frame: FrameType, number: int) -> str:
    """file:line, in function."""
    return f"{frame.f_code.co_filename}:{number}, in {frame.f_code.co_name}"


def _explained(error: BaseException) -> BaseException:
    """Python's words for `yield from` over a list of commands say nothing of commands."""
    if (
        isinstance(error, AttributeError)
        and error.name == "send"
        and hasattr(error.obj, "__next__")
    ):
        text = "`yield from` takes a generator: to run several commands, `yield gather(*commands)`"
        return TypeError(f"{text} ({error})").with_traceback(error.__traceback__)
    return error


def _is_users(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith(PACKAGE)


def _stack_from(first: FrameType) -> list[FrameType]:
    """Users' frames on the stack of this thread, from one of them on; [] if it is not there."""
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _is_users(frame):
            found.append(frame)
        if frame is first:
            return found[::-1]
        frame = frame.f_back
    return []


def _copy(error: BaseException) -> BaseException:
    """A copy to raise: a shared exception would grow its traceback at each raise. Where
    there is no true copy, itself."""
    for make in (copy, _made_without_init):
        try:
            fresh = make(error)
            if type(fresh) is not type(error) or str(fresh) != str(error):
                continue
        except Exception:
            continue
        fresh.__cause__ = error.__cause__
        fresh.__context__ = error.__context__
        fresh.__suppress_context__ = error.__suppress_context__
        return fresh.with_traceback(error.__traceback__)
    return error


def _made_without_init(error: BaseException) -> BaseException:
    """For classes whose ``__init__`` takes something else than ``args``."""
    fresh = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    fresh.args = error.args
    return fresh


def single(command: Any) -> Any:
    """A generator that yields one command."""
    return (yield command)
