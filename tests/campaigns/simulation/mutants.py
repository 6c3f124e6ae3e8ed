"""Mutants: the product with one guard taken away. The campaign must notice each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import durable.interpreter.core
import durable.runner.decide
from durable.client.caller import Sender
from durable.errors import OutcomeUnknown
from durable.runner.decide import Decider
from durable.runner.held import Held
from durable.runner.outbox import Outbox
from durable.runner.runner import Runner
from durable.store import Sent, Unavailable, Verdict
from durable.stores.memory import MemoryStore
from durable.stores.memory_claims import Claims
from durable.stores.memory_family import Family
from durable.stores.memory_rows import Rows
from durable.stores.memory_steps import Steps

Original = Callable[..., Any]
Mutant = tuple[Any, str, Callable[[Original], Original]]


def _never(answer: Any = None) -> Callable[[Original], Original]:
    return lambda original: lambda self, *args, **others: answer


def _fence_ignored(original: Original) -> Original:
    def judge(self: Any, worker: str, step: Any, now: int) -> Verdict:
        row = self._rows.by_uid.get(step.uid)
        alive = row is not None and row.instance.run == step.run
        return Verdict.COMMITTED if alive and not row.instance.status.finished else Verdict.LOST

    return judge


def _epoch_ignored(original: Original) -> Original:
    def judge(self: Any, worker: str, step: Any, now: int) -> Verdict:
        row = self._rows.by_uid.get(step.uid)
        if row is not None:
            step = replace(step, epoch=row.instance.epoch, done=[])
            step = replace(step, history_length=row.instance.history_length)
        verdict: Verdict = original(self, worker, step, now)
        return verdict

    return judge


def _end_unseen(original: Original) -> Original:
    def judge(self: Any, worker: str, step: Any, now: int) -> Verdict:
        verdict: Verdict = original(self, worker, step, now)
        return Verdict.COMMITTED if verdict is Verdict.UNSEEN else verdict

    return judge


def _result_fence_ignored(original: Original) -> Original:
    return lambda self, worker, one: self._rows.task((one.uid, one.run, one.command))


def _receipts_forgotten(original: Original) -> Original:
    def deliver(self: Any, row: Any, *args: Any, **others: Any) -> None:
        original(self, row, *args, **others)
        row.receipts.clear()

    return deliver


def _result_kept(original: Original) -> Original:
    def answer(self: Any, one: Any, event: bytes, now: int) -> None:
        row = self._rows.by_uid[one.uid]
        self._rows.deliver(row, one.message_id, event, now, run=one.run)

    return answer


def _timer_early(original: Original) -> Original:
    def timer(it: Any, number: int, at: Any) -> Any:
        return it.fired(number, it.seq, at) if number in it.timers else None

    return staticmethod(timer)


def _due_early(original: Original) -> Original:
    return lambda self, now: original(self, now + 3_000_000)


def _commit_not_stored(original: Original) -> Original:
    numbers = count(1)

    def commit(self: Any, worker: str, steps: Any, now: int) -> Any:
        if next(numbers) % 10 == 0:
            return [Verdict.COMMITTED] * len(steps), False
        return original(self, worker, steps, now)

    return commit


def _half_stored(original: Original) -> Original:
    def add_task(self: Any, row: Any, new: Any, now: int) -> None:
        if new.command != 1:
            original(self, row, new, now)

    return add_task


def _inbox_reversed(original: Original) -> Original:
    def due(self: Any, now: int) -> Any:
        found = original(self, now)
        return found[::-1]

    return due


def _signals_not_carried(original: Original) -> Original:
    def following(*args: Any) -> Any:
        args[2].carried = ()
        return original(*args)

    return following


def _inbox_cleared(original: Original) -> Original:
    def next_run(self: Any, row: Any, *args: Any, **others: Any) -> None:
        row.take(list(row.inbox))
        original(self, row, *args, **others)

    return next_run


def _wake_kept_only_of_step(original: Original) -> Original:
    def apply(self: Any, worker: str, step: Any, now: int) -> None:
        original(self, worker, step, now)
        row = self._rows.by_uid[step.uid]
        if step.next is None and row.instance.wake_at is not None:
            self._rows.update(row, wake_at=step.wake_at)

    return apply


def _cancel_dropped(original: Original) -> Original:
    def send(self: Any, message: Any, now: int) -> Sent:
        if message.urgent:
            return Sent.SENT
        sent: Sent = original(self, message, now)
        return sent

    return send


def _unknown_is_success(original: Original) -> Original:
    def distrust(self: Any, batch: Any) -> None:
        for proposal in batch:
            self._committed(proposal)

    return distrust


def _only_instances_released(original: Original) -> Original:
    def release(self: Any, worker: str, now: int, crashes: int) -> None:
        kept = self.held_tasks.pop(worker, {})
        original(self, worker, now, crashes)
        self.held_tasks[worker] = kept

    return release


def _anybody_claims(original: Original) -> Original:
    def claim(self: Any, request: Any, now: int) -> Any:
        known = self._rows.workers
        if request.worker in known or not known:
            return original(self, request, now)
        known[request.worker] = next(iter(known.values()))
        try:
            return original(self, request, now)
        finally:
            del known[request.worker]

    return claim


def _wake_of_owned_lost(original: Original) -> Original:
    def wake(self: Any, row: Any, now: int) -> None:
        if not row.instance.owner:
            original(self, row, now)

    return wake


def _own_epoch_kept(original: Original) -> Original:
    def hand_out(self: Any, row: Any, worker: str) -> Any:
        claimed = original(self, row, worker)
        epoch = row.instance.epoch - (self.was_owner == worker)
        return replace(claimed, instance=self._rows.update(row, epoch=epoch))

    def take(self: Any, row: Any, worker: str) -> Any:
        self.was_owner = row.instance.owner
        return hand_out(self, row, worker)

    return take


def _adopted_forgotten(original: Original) -> Original:
    def forget(self: Any, held: Held) -> None:
        original(self, held)
        self._todo.pop(held.uid, None)

    return forget


def _not_reconciled(original: Original) -> Original:
    def reconcile(self: Any) -> None:
        self.must_reconcile = False

    return reconcile


def _busy_is_forgotten(original: Original) -> Original:
    def send(self: Any, *args: Any) -> None:
        original(self, *args)
        self.clear()

    return send


def _unknown_is_unavailable(original: Original) -> Original:
    def repeat(self: Any, call: Any) -> Any:
        try:
            return original(self, call)
        except OutcomeUnknown as error:
            raise Unavailable("not now") from error

    return repeat


def _present_run(original: Original) -> Original:
    return lambda events, run, copied: run


MUTANTS: dict[str, Mutant] = {
    "the fence is ignored": (Steps, "_judge", _fence_ignored),
    "epoch and length are not compared": (Steps, "_judge", _epoch_ignored),
    "an end need not see all messages": (Steps, "_judge", _end_unseen),
    "results are not fenced": (Steps, "_held", _result_fence_ignored),
    "messages are taken without a receipt": (Rows, "deliver", _receipts_forgotten),
    "a task stays when its result is there": (Steps, "_answer", _result_kept),
    "timers fire early": (Held, "due", _due_early),
    "a commit is acknowledged and not stored": (Steps, "commit", _commit_not_stored),
    "a commit stores half of its tasks": (Rows, "add_task", _half_stored),
    "a commit forgets who must look at it": (Steps, "_apply", _wake_kept_only_of_step),
    "messages wake nobody": (Rows, "wake", _never()),
    "messages do not wake who is owned": (Rows, "wake", _wake_of_owned_lost),
    "a lease never expires": (MemoryStore, "take_over", _never(0)),
    "a takeover forgets the tasks": (Rows, "release", _only_instances_released),
    "who was taken over goes on claiming": (Claims, "claim", _anybody_claims),
    "cancels are not delivered": (Steps, "send", _cancel_dropped),
    "children are not closed": (Family, "close", _never()),
    "the end of a child is not told": (Family, "reply", _never()),
    "the inbox is read backwards": (Held, "due", _inbox_reversed),
    "unread signals are not carried over": (
        durable.runner.decide, "next_run", _signals_not_carried,
    ),
    "the next run has an empty inbox": (Rows, "next_run", _inbox_cleared),
    "what is unknown counts as done": (Runner, "distrust", _unknown_is_success),
    "what was lost track of is never adopted": (Runner, "reconcile", _not_reconciled),
    "a claim of what is owned has no epoch of its own": (Claims, "_hand_out", _own_epoch_kept),
    "an old step of an instance hides that it was adopted": (
        Runner, "_forget", _adopted_forgotten,
    ),
    "a busy result is forgotten": (Outbox, "send", _busy_is_forgotten),
    "what may have been stored is told as not stored": (
        Sender, "repeat", _unknown_is_unavailable,
    ),
    "a retried run sees its own number in the past": (
        durable.interpreter.core, "first_run", _present_run,
    ),
    "a purge takes who is wanted": (Rows, "wanted", _never(False)),
}  # fmt: skip
"""By what is wrong with them."""

UNNOTICED = {
    "a claim of what is owned has no epoch of its own": (
        "a message only waits until an activity beside it has ended, and only after a claim that "
        "came late; tests/engine/test_engine_lost_answers.py notices it"
    ),
    "a busy result is forgotten": (
        "the guard is redundant: the worker still owns the task, adopts it after a heartbeat, and "
        "runs it once more"
    ),
}
"""Those that may live longer than the campaign looks for them, and why."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The product is this mutant."""
    place, attribute, change = MUTANTS[name]
    original = vars(place)[attribute]
    extra = name == "timers fire early"
    timer = vars(Decider)["_timer"]
    setattr(place, attribute, change(getattr(place, attribute)))
    if extra:
        Decider._timer = _timer_early(timer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        setattr(place, attribute, original)
        Decider._timer = timer  # type: ignore[method-assign]
