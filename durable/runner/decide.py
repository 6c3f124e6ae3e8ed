"""From what waits to be applied to one step: the interpreter is driven here.

Nothing of this touches the store; errors of user code and of the interpreter become a step
that blocks the instance, never an error of the worker.
"""

from __future__ import annotations

import logging
import os
import random
import traceback
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from itertools import accumulate

from durable.closing import close_children
from durable.codec import Codec
from durable.errors import DurableError, HistoryTooLong
from durable.events import ActivityCancelled, Event, load
from durable.failure import PACKAGE, clean
from durable.header import Header
from durable.interpreter import (
    DEFAULT_LIMITS,
    Decision,
    Ending,
    Interpreter,
    Limits,
    StepAborted,
)
from durable.model import Status, micros, moment
from durable.runner.attempt import Outcome
from durable.runner.held import Held, outcome_event, started
from durable.runner.steps import (
    cancel,
    cancel_child,
    carry,
    end,
    new_task,
    next_run,
    outgoing,
    pack_vars,
    start_child,
)
from durable.store import End, Message, NewTask, NextRun, Step

logger = logging.getLogger("durable.worker")

WARN_HISTORY = 10_000

BATCH_BYTES = 16 * 1024 * 1024
"""A commit takes no more steps when it has so much to write."""

MORE = 4
"""A step takes no more events when it has this part of the bytes that one may lead to."""


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
    here when it has been committed. lookups: children of an earlier run (command, id) that
    may have ended unheard. left: messages that came too late for the run. ended, following:
    whether it is known which run follows this one, and that run. written: bytes of its events.
    rest: outcomes for which the step had no room; messages and timers stay due by themselves.
    """

    held: Held
    step: Step
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    eager: list[NewTask] = field(default_factory=list)
    lookups: list[tuple[int, str]] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)
    ended: bool = False
    following: NextRun | None = None
    written: int = 0
    rest: list[tuple[int, Outcome]] = field(default_factory=list)

    @property
    def all_outcomes(self) -> list[tuple[int, Outcome]]:
        """Those of the step, and those that came while it waited for its commit."""
        return self.outcomes + self.held.outcomes

    def keep(self, things: Sequence[Message | Outcome | int]) -> None:
        """These are not applied in this step."""
        later = {id(thing) for thing in things}
        self.rest = [one for one in self.outcomes if id(one[1]) in later]
        self.outcomes = [one for one in self.outcomes if id(one[1]) not in later]


def first_batch(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Those that are committed together: not so much that others wait for it."""
    written = list(accumulate(proposal.written for proposal in proposals))
    return list(proposals[: bisect_right(written, BATCH_BYTES) + 1])


class Decider:
    """Makes steps for one worker.

    eager(name, queue) tells whether a new task of this kind can start here at once; it
    takes a slot if so. build: the fingerprint written with a block. limits: what a run may
    have.

    secret, chance: of what seeds, and the delays of retries, are made; a test sets its own.
    """

    def __init__(
        self,
        worker: str,
        build: str,
        codec: Codec,
        eager: Callable[[str, str], bool],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.worker = worker
        self.build = build
        self.codec = codec
        self.limits = limits
        self._eager = eager
        self.secret = os.urandom(32)
        self.chance: Callable[[], float] = random.random
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
        except BaseException as error:  # SystemExit, too: it must not stop the worker
            logger.exception("%s: the interpreter failed", held.instance.id)
            return self.block(held, f"the interpreter failed: {error!r}")

    def block(self, held: Held, reason: str) -> Proposal:
        """A step that writes nothing but why the instance cannot go on."""
        logger.warning("%s is blocked: %s", held.instance.id, reason)
        if held.interpreter is not None:
            held.interpreter.close()
            held.interpreter = None
        instance = held.instance
        blocked = End(Status.BLOCKED, clean(reason), self.build)
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
        proposal = Proposal(held, step, held.outcomes)
        if interpreter.seq == 0:
            proposal.left = self._begin(held, interpreter, step, at_us)
            proposal.written = interpreter.written
        if held.begins_again:
            held.messages_first = True  # before any timer of what was copied
        room = self.limits.max_step_bytes // MORE
        things = held.due(at_us)
        for place, thing in enumerate(things):
            if interpreter.ending is not None:
                self._after_the_end(proposal, thing)
                continue
            if proposal.written > room:
                proposal.keep(things[place:])
                break
            if isinstance(thing, Outcome):
                event = self._outcome(interpreter, thing, step, at)
            elif isinstance(thing, Message):
                event = self._message(interpreter, thing, step, at)
            else:
                event = self._timer(interpreter, thing, at)
            if event is not None:
                interpreter.apply(event, at_us)
                proposal.written += interpreter.written
        self._propose(proposal, interpreter, now)
        return proposal

    def _begin(self, held: Held, interpreter: Interpreter, step: Step, at_us: int) -> list[bytes]:
        """Begin a run, with what it has from the run before; gives what is left of that."""
        instance, definition = held.instance, interpreter.definition
        header = Header.load(instance.header)
        interpreter.apply(started(instance, header, definition, at_us, self._seed()), at_us)
        step.version = definition.version
        for place, data in enumerate(header.carried):
            if interpreter.ending is not None:
                return list(header.carried[place:])
            interpreter.apply(load(data, interpreter.seq, moment(at_us)), at_us)
        return []

    # What is applied; None if nothing waits for it any more.

    @staticmethod
    def _outcome(it: Interpreter, outcome: Outcome, step: Step, at: datetime) -> Event | None:
        attempt = outcome.attempt
        command = attempt.key[2]
        step.done.append((command, attempt.epoch))
        return outcome_event(outcome, it.seq, at) if command in it.pending else None

    @staticmethod
    def _message(it: Interpreter, message: Message, step: Step, at: datetime) -> Event | None:
        step.messages.append(message.id)
        event = load(message.event, it.seq, at)
        return event if it.expects(event, message.message_id) else None

    @staticmethod
    def _timer(it: Interpreter, number: int, at: datetime) -> Event | None:
        due = it.timers.get(number)
        return None if due is None or due > micros(at) else it.fired(number, it.seq, at)

    def _after_the_end(self, proposal: Proposal, thing: Message | Outcome | int) -> None:
        """Something came too late for this run. Messages stay for a next run that begins at
        once; for a later one they are carried over, so that none is forgotten until then.
        Raises `UnseenMessages` if the end must see them first."""
        step = proposal.step
        if isinstance(thing, Outcome):
            step.done.append((thing.attempt.key[2], thing.attempt.epoch))
        elif isinstance(thing, Message):
            following = self._following(proposal)
            if following is None and not proposal.held.messages_first:
                raise UnseenMessages
            if following is not None and following.start_at <= self._now(proposal):
                return  # it finds it in its inbox
            step.messages.append(thing.id)
            proposal.left.append(thing.event)

    def _following(self, proposal: Proposal) -> NextRun | None:
        """The run that follows this one, which has ended; chance decides on it once."""
        if not proposal.ended:
            interpreter, instance = proposal.held.interpreter, proposal.held.instance
            assert interpreter is not None
            assert interpreter.ending is not None
            definition, ending, now = interpreter.definition, interpreter.ending, interpreter.at_us
            proposal.following = next_run(instance, definition, ending, now, self.chance())
            proposal.ended = True
        return proposal.following

    @staticmethod
    def _now(proposal: Proposal) -> int:
        interpreter = proposal.held.interpreter
        assert interpreter is not None
        return interpreter.at_us

    def _seed(self) -> bytes:
        """16 random bytes: a keyed hash of a counter, cheaper than asking the system."""
        self._seeds += 1
        return blake2b(self._seeds.to_bytes(8, "big"), digest_size=16, key=self.secret).digest()

    def _propose(self, proposal: Proposal, interpreter: Interpreter, now: int) -> None:
        """Put what the interpreter has decided into the step."""
        held, step = proposal.held, proposal.step
        if interpreter.decision.cancels:
            self._answer_cancels(interpreter)
        self._watch_length(held, interpreter)
        decision = interpreter.take()
        step.events = decision.events
        if decision.vars_changed:
            step.vars = pack_vars(interpreter.variables)
        if decision.starts or decision.sends or decision.child_cancels:
            self._send(held, interpreter, decision, step, now)
        if interpreter.ending is not None:
            self._end(proposal, interpreter, interpreter.ending)
            return
        proposal.lookups = decision.lookups
        for task in decision.tasks.values():
            owner = self.worker if self._eager(task.call.name, task.queue) else ""
            row = new_task(task, owner, now)
            step.tasks.append(row)
            if owner:
                proposal.eager.append(row)
        if decision.cancels:
            step.cancels = [cancel(step.run, number) for number in decision.cancels]
        step.wake_at = interpreter.next_due()
        step.release = not (proposal.eager or held.running or proposal.rest)
        if not interpreter.timers and interpreter.is_stuck():
            reason = interpreter.deadlock()
            logger.warning("%s is blocked: %s", held.instance.id, reason)
            step.end = End(Status.BLOCKED, reason)

    def _send(
        self, held: Held, interpreter: Interpreter, decision: Decision, step: Step, now: int
    ) -> None:
        """What goes to other instances: signals, children, and their cancels."""
        instance, codec = held.instance, self.codec
        if decision.starts:
            started = decision.starts.values()
            step.starts = [start_child(instance, child, now, codec) for child in started]
        if decision.sends:
            run_of = interpreter.run_of
            step.sends = [
                outgoing(step.uid, run_of(sent.command), sent, now, codec)
                for sent in decision.sends
            ]
        step.sends += [cancel_child(instance, child, now) for child in decision.child_cancels]

    def _end(self, proposal: Proposal, interpreter: Interpreter, ending: Ending) -> None:
        """The run is over."""
        step, left, instance = proposal.step, proposal.left, proposal.held.instance
        now = interpreter.at_us
        step.release = True
        if interpreter.children:
            step.close = close_children(instance.id, instance.uid, instance.run, now)
        step.next = following = self._following(proposal)
        if following is None:
            step.end = end(instance, ending, left, self.codec, now)
        elif left:
            step.next = carry(following, left, now)

    def _watch_length(self, held: Held, interpreter: Interpreter) -> None:
        """Warn of a history that grows long, and stop one that is too long."""
        length = interpreter.seq
        if interpreter.ending is not None:
            return
        if held.length < WARN_HISTORY <= length:
            logger.warning(
                "%s has %s events: let it `return continue_as_new(…)` now and then; at %s it is "
                "blocked", held.instance.id, length, self.limits.max_history,
            )  # fmt: skip
        if length > self.limits.max_history:
            raise HistoryTooLong(
                f"the history would have {length} events, more than "
                f"max_history={self.limits.max_history}: change the workflow to "
                "`return continue_as_new(…)` before, or give its workers a higher max_history and "
                "retry it"
            )

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
            if interpreter.expects(event):
                interpreter.apply(event, interpreter.at_us)
