"""From what waits to be applied to one step: the interpreter is driven here.

Nothing of this touches the store; errors of user code and of the interpreter become a step
that blocks the instance, never an error of the worker.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from durable.codec import Codec
from durable.errors import DurableError
from durable.events import ActivityCancelled
from durable.failure import PACKAGE
from durable.interpreter import Interpreter, StepAborted
from durable.model import Status, moment
from durable.runner.attempt import Outcome
from durable.runner.held import Held, as_event, signal_name, started
from durable.runner.steps import cancel, end, new_task, outgoing, pack_vars
from durable.store import End, Message, NewTask, Step

logger = logging.getLogger("durable.worker")


def aborted(error: StepAborted) -> str:
    """Why a step was stopped, with the line that it was at."""
    text = str(error)
    if text:
        return text
    where = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in where if not frame.filename.startswith(PACKAGE)]
    place = f" at {users[-1].filename}:{users[-1].lineno}" if users else ""
    return f"a step took too long: it was stopped{place}"


class UnseenMessages(Exception):
    """The workflow ended before messages that had come were applied."""


@dataclass(slots=True)
class Proposal:
    """A step, not yet committed, with what belongs to it.

    outcomes: of local attempts, which are among its events. eager: its tasks that start
    here when it has been committed.
    """

    held: Held
    step: Step
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    eager: list[NewTask] = field(default_factory=list)


class Decider:
    """Makes steps for one worker.

    eager(name, queue) tells whether a new task of this kind can start here at once; it
    takes a slot if so. build: the fingerprint written with a block.
    """

    def __init__(
        self, worker: str, build: str, codec: Codec, eager: Callable[[str, str], bool]
    ) -> None:
        self.worker = worker
        self.build = build
        self.codec = codec
        self._eager = eager
        self._secret = os.urandom(32)
        self._seeds = 0

    def decide(self, held: Held, now: int) -> Proposal:
        """Apply what waits and propose the step. Raises `UnseenMessages`."""
        try:
            return self._decide(held, now)
        except StepAborted as error:
            return self.block(held, aborted(error))
        except UnseenMessages:
            raise
        except DurableError as error:
            return self.block(held, f"{type(error).__name__}: {error}")
        except Exception as error:
            logger.exception("%s: the interpreter failed", held.instance.id)
            return self.block(held, f"the interpreter failed: {error!r}")

    def block(self, held: Held, reason: str) -> Proposal:
        """A step that writes nothing but why the instance cannot go on."""
        logger.warning("%s is blocked: %s", held.instance.id, reason)
        if held.interpreter is not None:
            held.interpreter.close()
            held.interpreter = None
        instance = held.instance
        blocked = End(Status.BLOCKED, reason, self.build)
        step = Step(instance.uid, instance.run, held.epoch, held.length, [], release=True)
        step.end = blocked
        return Proposal(held, step)

    def _decide(self, held: Held, now: int) -> Proposal:
        interpreter = held.interpreter
        assert interpreter is not None
        instance = held.instance
        step = Step(instance.uid, instance.run, held.epoch, held.length, [])
        at_us = max(now, interpreter.at_us)
        at = moment(at_us) if at_us != interpreter.at_us else interpreter.at
        if interpreter.seq == 0:
            version = interpreter.definition.version
            interpreter.apply(started(instance, version, at_us, self._seed()), at_us)
            step.version = version
        late: list[str] = []
        for thing in held.due(at_us):
            if isinstance(thing, Message):
                step.messages.append(thing.id)
                if interpreter.ending is not None:
                    if not held.messages_first:
                        raise UnseenMessages
                    late += filter(None, [signal_name(thing)])
                    continue
            elif isinstance(thing, Outcome):
                step.done.append((thing.attempt.key[2], thing.attempt.epoch))
            if interpreter.ending is None:
                event = as_event(thing, interpreter.seq, at)
                command = getattr(event, "command", None)
                if command is None or interpreter.expects(command):
                    interpreter.apply(event, at_us)
        return self._propose(held, interpreter, step, now, tuple(late))

    def _seed(self) -> bytes:
        """16 random bytes: a keyed hash of a counter, cheaper than asking the system."""
        self._seeds += 1
        return blake2b(self._seeds.to_bytes(8, "big"), digest_size=16, key=self._secret).digest()

    def _propose(
        self, held: Held, interpreter: Interpreter, step: Step, now: int, late: tuple[str, ...]
    ) -> Proposal:
        proposal = Proposal(held, step, held.outcomes)
        if interpreter.decision.cancels:
            self._answer_cancels(interpreter)
        decision = interpreter.take()
        step.events = decision.events
        if decision.vars_changed:
            step.vars = pack_vars(interpreter.variables)
        if interpreter.ending is not None:
            step.end = end(interpreter.ending, late)
            step.release = True
            step.sends = [outgoing(step.uid, step.run, s, now, self.codec) for s in decision.sends]
            return proposal
        for task in decision.tasks.values():
            owner = self.worker if self._eager(task.call.name, task.queue) else ""
            row = new_task(task, owner, now)
            step.tasks.append(row)
            if owner:
                proposal.eager.append(row)
        if decision.cancels:
            step.cancels = [cancel(step.run, number) for number in decision.cancels]
        if decision.sends:
            step.sends = [outgoing(step.uid, step.run, s, now, self.codec) for s in decision.sends]
        step.wake_at = interpreter.next_due()
        step.release = not proposal.eager and not held.running
        if not interpreter.pending and not interpreter.signals.count:
            reason = interpreter.deadlock()
            logger.warning("%s is blocked: %s", held.instance.id, reason)
            step.end = End(Status.BLOCKED, reason)
        return proposal

    @staticmethod
    def _answer_cancels(interpreter: Interpreter) -> None:
        """Activities that were asked to stop before their task was ever stored."""
        decision = interpreter.decision
        while True:
            stillborn = [number for number in decision.cancels if number in decision.tasks]
            if not stillborn or interpreter.ending is not None:
                return
            number = stillborn[0]
            decision.cancels.remove(number)
            del decision.tasks[number]
            event = ActivityCancelled(interpreter.seq, interpreter.at, number)
            interpreter.apply(event, interpreter.at_us)
