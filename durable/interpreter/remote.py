"""What runs elsewhere and takes time: activities and child workflows.

Rules
-----
* A cancel asks it to stop and goes on waiting, until the engine or the child has answered:
  with its result, if it had one after all.  An activity with ``on_cancel="abandon"`` and a
  child with ``parent_close="abandon"`` are not asked and not waited for.
* When the root has ended, children are not waited for by what is left of the workflow: what
  becomes of them their ``parent_close`` says, which the store carries out.
* A deadline or a lost race does not wait: what comes later is recorded and dropped.
* What was issued in the very step in which it is to stop never starts, and nobody answers.
* Arguments are compared by bytes; if these differ, by value as today's type hints read them,
  so that a new field with a default is no difference.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.commands import ActivityCall
from durable.errors import (
    ActivityError,
    ChildWorkflowError,
    DurableError,
    InstanceAlreadyExists,
    PropagatorError,
    TimeoutExpired,
    WorkflowCancelledError,
)
from durable.events import (
    ActivityCancelRequested,
    ActivityFailed,
    ActivityScheduled,
    ChildCancelRequested,
    ChildStarted,
    Event,
)
from durable.failure import Failure
from durable.interpreter.aborted import StepAborted
from durable.interpreter.decision import ChildCancel, ScheduledTask, StartedChild
from durable.interpreter.derive import child_id
from durable.interpreter.scopes import cancelled
from durable.interpreter.waits import DRAINED, Wait
from durable.model import ParentClose, micros
from durable.propagation import Propagators
from durable.retry import microseconds, type_name

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter

_CANCELLED = type_name(WorkflowCancelledError)


class RemoteWait(Wait):
    """The part that activities and children share."""

    __slots__ = ("args", "context", "coroutine", "kwargs", "told")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        Wait.__init__(self, interpreter, command, parent, index)  # quicker than super()
        self.told = False  # it was asked to stop
        self.coroutine = interpreter.issuing
        self.remember()

    def payloads(self) -> tuple[bytes, bytes | None]:
        """The arguments as they are stored."""
        wrap = self.interpreter.codec.wrap
        return wrap(self.args), None if self.kwargs is None else wrap(self.kwargs)

    def remember(self) -> None:
        """What `forget` drops, from the command."""
        interpreter, command = self.interpreter, self.command
        pack, kwargs = interpreter.codec.pack, command.kwargs
        self.args = pack([*command.args], "args")
        self.kwargs: bytes | None = pack(dict(kwargs), "kwargs") if kwargs else None
        propagators = interpreter.propagators
        self.context = None if propagators is None else self.carried(propagators)

    def carried(self, propagators: Propagators) -> bytes | None:
        """What is carried on from the coroutine that issues this."""
        interpreter, context = self.interpreter, self.coroutine.context
        if interpreter.replaying:
            context.run(propagators.check, interpreter.codec)
            return None
        try:
            carried: bytes | None = context.run(propagators.capture, interpreter.codec)
        except PropagatorError as error:  # nothing that a replay would meet: not for the workflow
            raise StepAborted(str(error)) from error
        return carried

    def forget(self) -> None:
        """It may wait long: keep nothing that is stored."""
        self.args, self.kwargs, self.context = b"", None, None

    def same_arguments(self, event: Any) -> bool:
        codec = self.interpreter.codec
        recorded = None if event.kwargs is None else codec.unwrap(event.kwargs)
        if codec.unwrap(event.args) == self.args and recorded == self.kwargs:
            return True
        if self.interpreter.from_elsewhere:
            return True
        definition = self.command.definition
        if definition is None:
            return False
        try:
            theirs = definition.unpack_call(codec, event.args, event.kwargs)
            return bool(theirs == definition.unpack_call(codec, *self.payloads()))
        except Exception:
            return False

    def completed(self, payload: bytes) -> None:
        definition = self.command.definition
        try:
            hint = Any if definition is None else definition.returns
            value = self.interpreter.codec.decode(payload, hint)
        except DurableError as error:
            self.answer(None, error)
        else:
            self.answer(value, None)

    def answer(self, value: Any, error: BaseException | None) -> None:
        """It has ended; if it only had to be waited for, nobody wants the value."""
        if self.draining:
            value, error = None, DRAINED
        self.settle(value, error)

    @property
    def abandons(self) -> bool:
        """Whether it is neither asked to stop nor waited for."""
        return False

    def ask(self) -> bool:
        """Ask it to stop, once; True if it never starts."""
        raise AssertionError(type(self))  # pragma: no cover

    def unstart(self, started: dict[int, Any]) -> bool:
        """Take it out of what this step starts; False if it was started before."""
        interpreter = self.interpreter
        if not interpreter.is_new(self.number):
            return False
        started.pop(self.number, None)
        interpreter.stop_timer(self.number)
        return True

    def cancel(self) -> bool:
        if not self.abandons:
            if not self.ask():
                return True
            self.settled = True
            return False
        self.withdraw(drain=False)
        return False

    def withdraw(self, drain: bool) -> bool:
        if self.settled:
            return False
        if not self.abandons:
            if self.ask():
                self.settled = True
                return False
            if drain:
                self.draining = True
                return True
        self.settled = True
        self.interpreter.timers.pop(self.number, None)
        self.interpreter.drop(self.number)
        return False


class ActivityWait(RemoteWait):
    __slots__ = ()

    def issue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.number = number = interpreter.next_number(self)
        event = interpreter.expect(ActivityScheduled, number, command)
        if event is None:
            args, kwargs = self.payloads()
            queue = command.options.queue or interpreter.queue
            seq, at, context = interpreter.seq, interpreter.at, self.context
            interpreter.emit(
                ActivityScheduled(seq, at, number, command.name, args, kwargs, queue, context)
            )
            interpreter.decision.tasks[number] = ScheduledTask(
                number, command, queue, args, kwargs, context
            )
        elif event.name != command.name or not self.same_arguments(event):
            raise interpreter.mismatch(event, command)
        if command.options.schedule_timeout is not None:
            self.limit()
        self.forget()

    def limit(self) -> None:
        """From now on it may take so long, with all its attempts."""
        seconds, interpreter = self.command.options.schedule_timeout, self.interpreter
        if seconds is not None:
            limit = microseconds(seconds, "schedule_timeout=")
            interpreter.start_timer(self.number, interpreter.at_us + limit)

    def reissue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.remember()
        queue = command.options.queue or interpreter.queue
        origin = replace(command.options, origin=interpreter.run_of(self.number))
        interpreter.decision.tasks[self.number] = ScheduledTask(
            self.number, replace(command, options=origin), queue, *self.payloads(), self.context
        )
        if self.told:
            interpreter.decision.cancels.append(self.number)
        self.limit()
        self.forget()

    def failed(self, data: Any, attempt: int) -> None:
        failure = Failure.from_data(data, self.interpreter.codec.decode)
        error = ActivityError(self.command.name, attempt, failure)
        error.__cause__ = failure.exception()
        self.answer(None, error)

    def expired(self, seq: int, at: datetime) -> Event:
        """Its schedule_timeout is up: it fails here, and its task is cancelled."""
        call: ActivityCall[Any] = self.command
        self.interpreter.decision.cancels.append(self.number)
        seconds = call.options.schedule_timeout
        error = TimeoutExpired(
            f"{call.name} had no result {seconds:g} s after it was scheduled", {"kind": "schedule"}
        )
        data = Failure.of(error).to_data(self.interpreter.codec.encode)
        return ActivityFailed(seq, at, self.number, data, 0)

    @property
    def abandons(self) -> bool:
        return bool(self.command.options.on_cancel == "abandon")

    def ask(self) -> bool:
        interpreter = self.interpreter
        if not self.told:
            self.told = True
            interpreter.note(ActivityCancelRequested, self.number, self.command)
            if self.unstart(interpreter.decision.tasks):
                return True
            if not interpreter.replaying:
                interpreter.decision.cancels.append(self.number)
        return False


class ChildWait(RemoteWait):
    """Waits for a child. instance_id and at (of the start) say which it is."""

    __slots__ = ("at", "instance_id", "memo")

    def remember(self) -> None:
        super().remember()
        memo = self.command.options.memo
        self.memo = None if memo is None else self.interpreter.codec.pack(memo, "memo")

    def forget(self) -> None:
        super().forget()
        self.memo = None

    def issue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.number = number = interpreter.next_number(self)
        interpreter.children += 1
        event = interpreter.expect(ChildStarted, number, command)
        if event is None:
            event = self._start(number)
        elif (
            event.workflow != command.name
            or command.options.id not in (None, event.instance_id)
            or not self.same_arguments(event)
        ):
            raise interpreter.mismatch(event, command)
        self.instance_id, self.at = event.instance_id, micros(event.at)
        self.forget()

    def _start(self, number: int) -> ChildStarted:
        interpreter, command = self.interpreter, self.command
        args, kwargs = self.payloads()
        id = command.options.id or child_id(
            interpreter.instance_id, interpreter.run, interpreter.children
        )
        event = ChildStarted(
            interpreter.seq, interpreter.at, number, command.name, id, args, kwargs, self.context
        )
        interpreter.emit(event)
        interpreter.decision.starts[number] = self._started(id, interpreter.at_us)
        return event

    def _started(self, id: str, at: int) -> StartedChild:
        interpreter, command = self.interpreter, self.command
        queue = command.options.queue or command.definition.queue or interpreter.queue
        memo = None if self.memo is None else interpreter.codec.wrap(self.memo)
        return StartedChild(
            self.number, command, id, queue, *self.payloads(), self.context, memo, at
        )

    def reissue(self) -> None:
        decision = self.interpreter.decision
        self.remember()
        decision.starts[self.number] = self._started(self.instance_id, self.at)
        decision.lookups.append((self.number, self.instance_id))
        if self.told:
            decision.child_cancels.append(ChildCancel(self.number, self.instance_id, self.at))
        self.forget()

    def failed(self, data: Any, started: bool) -> None:
        failure = Failure.from_data(data, self.interpreter.codec.decode)
        error: BaseException
        if not started:
            error = InstanceAlreadyExists(failure.message)
        elif self.told and failure.is_a(_CANCELLED):
            error = cancelled(failure.exception())
        else:
            error = ChildWorkflowError(self.command.name, self.instance_id, failure)
            error.__cause__ = failure.exception()
        self.answer(None, error)

    @property
    def abandons(self) -> bool:
        closing = self.interpreter.outcome is not None
        return closing or self.command.options.parent_close is ParentClose.ABANDON

    def ask(self) -> bool:
        interpreter = self.interpreter
        if not self.told:
            self.told = True
            interpreter.note(ChildCancelRequested, self.number, self.command)
            if self.unstart(interpreter.decision.starts):
                return True
            if not interpreter.replaying:
                cancel = ChildCancel(self.number, self.instance_id, self.at)
                interpreter.decision.child_cancels.append(cancel)
        return False
