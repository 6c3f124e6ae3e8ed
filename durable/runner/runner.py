"""The runner: claimed work → one batch of decisions → commit → activities to start.

Rules
-----
* Everything that is ready at one moment goes into one commit (group commit).
* An activity starts only after the commit that schedules it.
* The result of an activity that ran here, for an instance that is held here, is applied to
  the live generator and committed with the step that it causes; for one held elsewhere it
  goes to the inbox.
* A step that was not committed leaves no trace in memory: its generator is closed and read
  again from the history.
* Whatever may raise is asked of the store before anything here changes, the clock, too: an
  error leaves memory as it was.
* After an unknown outcome nothing local is trusted: what the store says this worker owns is
  adopted under new epochs, and held results are applied only if their task is still there.
* An instance that may have taken workers down (`SUSPECT_CRASHES`) is held and stepped alone
  among its like, after what is above suspicion; after `MAX_CRASHES` it is blocked.

Not thread-safe: one loop calls it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from durable.codec import Codec
from durable.collector import paused
from durable.errors import DurableError, OutcomeUnknown
from durable.interpreter import DEFAULT_LIMITS, Limits, StepAborted
from durable.model import Instance, Task, WorkerInfo
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner.attempt import Attempt, Outcome
from durable.runner.cache import Cache
from durable.runner.committer import Committer
from durable.runner.decide import Decider, Proposal, UnseenMessages, aborted
from durable.runner.held import Held, revive
from durable.runner.lookups import Lookup, look_up
from durable.runner.outbox import Outbox
from durable.runner.results import first_attempt, foregone, next_attempt
from durable.store import (
    Claimed,
    ClaimedInstance,
    ClaimRequest,
    NewTask,
    Poison,
    Store,
    TaskKey,
    Verdict,
)

logger = logging.getLogger("durable.worker")

SUSPECT_CRASHES = 2
MAX_CRASHES = 5


class Runner:
    """What one worker incarnation holds, and how it advances it.

    slots: activities that may run here at once. max_held: instances held at once.
    on_step: called after the commit with the instance, the first seq and the new events.
    propagators: what is carried along. limits: what a run may have.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        codec: Codec,
        worker: WorkerInfo,
        *,
        slots: int,
        max_held: int,
        cache: Cache,
        on_step: Callable[[Instance, int, list[bytes]], None] | None = None,
        propagators: Propagators | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.store = store
        self.registry = registry
        self.codec = codec
        self.slots = slots
        self.max_held = max_held
        self.cache = cache
        self.on_step = on_step
        self.propagators = propagators
        self.limits = limits
        self.held: dict[bytes, Held] = {}
        self.attempts: dict[TaskKey, Attempt] = {}
        self.stepping: Held | None = None  # read by the watchdog
        self.steps = 0
        self.must_reconcile = False
        self._now = 0  # when this turn, claim or outcome began, by the store's clock
        self._reserved = 0  # slots for tasks of proposed steps
        self._todo: dict[bytes, Held] = {}
        self._outbox = Outbox()
        self._committer = Committer(store, self)
        self._starting: list[Attempt] = []
        self._kept: dict[TaskKey, Outcome] = {}  # of steps whose outcome is unknown
        self._lookups: list[Lookup] = []
        self.become(worker)

    # -- work comes in ------------------------------------------------------------------

    @property
    def free_slots(self) -> int:
        return self.slots - len(self.attempts) - self._reserved

    @property
    def busy(self) -> bool:
        """Whether `turn` has something to do."""
        work = self._todo or self._committer or self._outbox or self._starting
        return bool(work) or self.must_reconcile

    @property
    def stalled(self) -> bool:
        """Whether all that is left of a turn has rows in somebody else's hands."""
        return bool(self._committer or self._outbox) and not self._todo

    def claim(self) -> Claimed:
        """Claim what there is room for."""
        info, self._now = self.worker, self.store.now()
        room = (max(0, self.max_held - len(self.held)), max(0, self.free_slots))
        wanted = ClaimRequest(info.id, info.queues, info.workflows, info.activities, *room)
        try:
            claimed = self.store.claim(wanted)
        except OutcomeUnknown:
            self.must_reconcile = True  # it may own more than it knows
            raise
        self.take(claimed)
        return claimed

    def take(self, claimed: Claimed) -> None:
        """Hold what was claimed; of the suspects one at a time, so that the next crash is not
        counted against the others."""
        spare = []
        for item in claimed.instances:
            if self._may_hold(item.instance):
                self._take_instance(item)
            else:
                spare.append(item.instance.uid)
        for task in claimed.tasks:
            self._take_task(task)
        for proposal in self._committer:  # made before; they were not stored
            proposal.step.epoch = proposal.held.epoch
        if spare:
            self.store.release(self.worker.id, spare)

    def _may_hold(self, instance: Instance) -> bool:
        if not SUSPECT_CRASHES <= instance.crashes < MAX_CRASHES:
            return True
        suspects = (h.uid for h in self.held.values() if h.crashes >= SUSPECT_CRASHES)
        return next(suspects, instance.uid) == instance.uid

    def _take_instance(self, item: ClaimedInstance) -> None:
        instance = item.instance
        held = self.held.get(instance.uid)
        if held is None or held.epoch + 1 != instance.epoch:
            if held is not None:
                self._forget(held)
            held = Held(
                instance, instance.epoch, instance.history_length, instance.version, item.messages
            )
            held.crashes = instance.crashes
            held.interpreter = self.cache.take(instance.uid, instance.run, held.length)
            self.held[instance.uid] = held
        else:  # its own, due again: no claim came in between
            held.messages, held.epoch = item.messages, instance.epoch
        self._todo[instance.uid] = held

    def _take_task(self, task: Task) -> None:
        attempt = next_attempt(task, self.store.secret)
        self.attempts[attempt.key] = attempt
        held = self.held.get(task.uid)
        if held is not None and held.instance.run == task.run:
            held.running.add(task.command)
        if (outcome := foregone(task, attempt, self._now, self.codec)) is not None:
            self._finish(outcome)
        else:
            self._starting.append(attempt)

    def finish(self, outcome: Outcome) -> bool:
        """An attempt has ended here; False if it came too late and is dropped."""
        self._now = self.store.now()
        return self._finish(outcome)

    def _finish(self, outcome: Outcome) -> bool:
        attempt, now = outcome.attempt, self._now
        if self.attempts.get(attempt.key) is not attempt:
            return False
        del self.attempts[attempt.key]
        held = self._let_go(attempt)
        self.must_reconcile |= outcome.unknown
        if outcome.recorded or (outcome.value is None and self._outbox.postpone(outcome, now)):
            return True
        if held is None or attempt.exposed:  # who has its token may have completed it
            self._outbox.complete(outcome, now)
        else:
            held.outcomes.append((now, outcome))
            self._todo[held.uid] = held
        return True

    def _let_go(self, attempt: Attempt) -> Held | None:
        """Its instance, if that was held because of it; it is not any more."""
        uid, run, command = attempt.key
        held = self.held.get(uid)
        if held is None or held.instance.run != run or command not in held.running:
            return None
        held.running.discard(command)
        if not held.running:
            self._todo[uid] = held  # at least to be given back
        return held

    def _reserve(self, name: str, queue: str) -> bool:
        """Whether a new task can start here at once; takes a slot if so."""
        served = queue in self.worker.queues and name in self.registry.activities
        if self.free_slots <= 0 or not served:
            return False
        self._reserved += 1
        return True

    # -- one turn -----------------------------------------------------------------------

    def turn(self) -> list[Attempt]:
        """Decide, commit, and give the attempts to start. Raises what the store raises;
        everything that was not committed is kept for the next turn."""
        with paused():
            return self._turn()

    def _turn(self) -> list[Attempt]:
        self.store.secret()  # so that no step asks for it: the store may be away by then
        self._now = self.store.now()
        if self.must_reconcile:
            self.reconcile()
        if self._outbox:
            self._outbox.send(self.store, self.worker.id)
        if self._todo:
            self._propose()
        while self._lookups:  # before the commit, so that nothing of it is forgotten
            look_up(self.store, self.codec, self._lookups[0])
            del self._lookups[0]
        self._committer.send(self.worker.id)
        starting, self._starting = self._starting, []
        return starting

    def _propose(self) -> None:
        proposed = {p.held.uid for p in self._committer}
        ready = [held for uid, held in self._todo.items() if uid not in proposed]
        todo = [held for held in ready if held.crashes < SUSPECT_CRASHES] or ready[:1]
        for held in todo:
            del self._todo[held.uid]
        missing = [held for held in todo if held.interpreter is None]
        try:
            broken = self._load(missing) if missing else {}
        except DurableError:  # the store does not answer: they are still to do
            self._todo.update((held.uid, held) for held in todo)
            raise
        for held in todo:
            if held.crashes >= MAX_CRASHES:
                reason = f"it has taken down its worker {held.crashes} times in a row"
                self._committer.add(self._block(held, reason))
            elif broken and held.uid in broken:
                self._committer.add(self._block(held, broken[held.uid]))
            else:
                self._decide(held)

    def _decide(self, held: Held) -> None:
        self.stepping = held
        self.steps += 1
        try:
            proposal = self._decider.decide(held, self._now)
        except UnseenMessages:
            held.evict()
            held.messages_first = True
            self._todo[held.uid] = held
            return
        finally:
            self.stepping = None
        if held.interpreter is None:  # it was blocked: results go where its next owner sees them
            self._give_away(held.outcomes)
        held.outcomes, held.messages = proposal.rest, []
        if proposal.rest:
            self._todo[held.uid] = held
        self._committer.add(proposal)
        if proposal.lookups:
            self._lookups += [(held.instance, number, id) for number, id in proposal.lookups]

    def _block(self, held: Held, reason: str) -> Proposal:
        self._give_away(held.outcomes)
        held.outcomes = []
        return self._decider.block(held, reason)

    def _give_away(self, outcomes: Iterable[tuple[int, Outcome]]) -> None:
        for _, outcome in outcomes:
            self._outbox.complete(outcome, self._now)

    def _load(self, helds: list[Held]) -> dict[bytes, str]:
        """Read histories and replay them; gives the reasons of those that cannot be."""
        broken: dict[bytes, str] = {}
        old = [h for h in helds if h.length]
        histories = self.store.history([(h.uid, h.instance.run) for h in old]) if old else []
        found = dict(zip((h.uid for h in old), histories, strict=True))
        for held in helds:
            instance = held.instance
            definition = self.registry.workflow(instance.workflow, held.version)
            if definition is None:
                broken[held.uid] = f"this worker has no code for workflow {instance.workflow}"
                continue
            self.stepping = held
            self.steps += 1
            try:
                held.interpreter = revive(
                    instance, held.length, definition, found.get(held.uid, []), self.codec,
                    self.store.secret, self.propagators, self.limits, copied=held.begins_again,
                )  # fmt: skip
                held.interpreter.effects.update(held.effects)
                if held.interpreter.ending is not None:
                    broken[held.uid] = "its history has an end, and it is not finished"
            except StepAborted as error:
                broken[held.uid] = aborted(error)
            except DurableError as error:
                broken[held.uid] = f"{type(error).__name__}: {error}"
            except BaseException as error:  # SystemExit, too
                logger.exception("%s cannot be replayed", instance.id)
                broken[held.uid] = f"it cannot be replayed: {error!r}"
            finally:
                self.stepping = None
        return broken

    # -- commit -------------------------------------------------------------------------

    def answered(self, proposal: Proposal, verdict: Verdict) -> None:
        """The store has decided."""
        _VERDICTS[verdict](self, proposal)

    def refused(self, proposal: Proposal, error: Poison) -> None:
        """Block the instance whose step the store refuses."""
        held = proposal.held
        self._reserved -= len(proposal.eager)
        self._give_away(proposal.outcomes)
        if proposal.step.end is not None and not proposal.step.events:
            logger.error("%s cannot even be blocked: %s", held.instance.id, error)
            self._forget(held)
        else:
            self._committer.add(self._decider.block(held, f"the store refuses it: {error}"))

    def distrust(self, batch: list[Proposal]) -> None:
        """The outcome is unknown: forget the batch, keep its results, adopt it anew."""
        for proposal in batch:
            self._reserved -= len(proposal.eager)
            for _, outcome in proposal.all_outcomes:
                self._kept[outcome.attempt.key] = outcome
            proposal.held.outcomes = []
            self._forget(proposal.held)
        self.must_reconcile = True

    def _committed(self, proposal: Proposal) -> None:
        held, step = proposal.held, proposal.step
        interpreter = held.interpreter
        if self.on_step is not None and step.events:
            self.on_step(held.instance, held.length, step.events)
        held.length += len(step.events)
        held.crashes = 0
        if interpreter is not None and interpreter.effects:
            interpreter.effects.clear()
        if held.messages:  # claimed again while this step waited for its commit
            held.messages = [m for m in held.messages if m.id not in step.messages]
        if step.version is not None:
            held.version = step.version
        held.messages_first = False
        for row in proposal.eager:
            self._start(held, row)
        for asked in step.cancels:
            attempt = self.attempts.get((step.uid, step.run, asked.command))
            if attempt is not None:
                attempt.stopping = True
        if step.next is not None or (step.end is not None and step.end.status.finished):
            self._forget(held)
        elif step.release:  # what came since it was proposed waits in the store
            self._todo.pop(step.uid, None)
            self._give_away(held.outcomes)
            held.outcomes = []
            del self.held[step.uid]
            if interpreter is not None:
                self.cache.put(step.uid, interpreter)

    def _start(self, held: Held, row: NewTask) -> None:
        self._reserved -= 1
        key = (held.uid, held.instance.run, row.command)
        attempt = first_attempt(key, held.instance.id, row, self.store.secret)
        held.running.add(key[2])
        self.attempts[key] = attempt
        self._starting.append(attempt)

    def _lost(self, proposal: Proposal) -> None:
        logger.info("%s: its step came too late", proposal.held.instance.id)
        # Perhaps after itself: one whose outcome was unknown was under way still.
        self.must_reconcile = True
        self._reserved -= len(proposal.eager)
        self._give_away(proposal.outcomes)
        self._forget(proposal.held)

    def _unseen(self, proposal: Proposal) -> None:
        """It would have ended without a message that has come: the next claim brings it."""
        held = proposal.held
        self._reserved -= len(proposal.eager)
        held.evict()
        held.outcomes = proposal.all_outcomes
        held.messages_first = True

    def _forget(self, held: Held) -> None:
        """Hold it no more. Results that came for it go where its next owner sees them."""
        held.evict()
        self._give_away(held.outcomes)
        held.outcomes = []
        if self.held.get(held.uid) is held:
            del self.held[held.uid]
            self._todo.pop(held.uid, None)

    # -- what this worker has lost track of ---------------------------------------------

    def reconcile(self) -> None:
        """Make memory and store agree on what this worker owns."""
        owned = self.store.owned(self.worker.id)
        for held in [h for u, h in self.held.items() if owned.instances.get(u) != h.epoch]:
            self._forget(held)
        for key, attempt in list(self.attempts.items()):
            if owned.tasks.get(key) != attempt.epoch:
                self._let_go(attempt)  # it goes on, and keeps its slot
                if key in owned.tasks:  # and is adopted, as another attempt
                    del self.attempts[key]
        kept = {k: o for k, o in self._kept.items() if owned.tasks.get(k) == o.attempt.epoch}
        waiting = self._outbox.keys()
        for proposal in self._committer:
            waiting |= {o.attempt.key for _, o in proposal.outcomes}
        for held in self.held.values():
            waiting |= {o.attempt.key for _, o in held.outcomes}
        uids = [uid for uid in owned.instances if uid not in self.held]
        known = self.attempts.keys() | kept.keys() | waiting
        tasks = [key for key in owned.tasks if key not in known]
        self._kept = kept
        again = False
        if uids or tasks:
            logger.info("adopting %s instances and %s tasks", len(uids), len(tasks))
            adopted = self.store.adopt(self.worker.id, uids, tasks)
            self.take(adopted)
            count = len(adopted.instances) + len(adopted.tasks)
            # What is large comes in parts; of what does not come at all, after the next heartbeat.
            again = 0 < count < len(uids) + len(tasks)
        for key, outcome in kept.items():
            self.attempts[key] = outcome.attempt
            held_again = self.held.get(key[0])
            if held_again is not None:
                held_again.running.add(key[2])
            self._finish(outcome)
        self._kept = {}
        self.must_reconcile = again

    def drop_all(self) -> None:
        """This incarnation has expired: nothing that it holds is its own any more."""
        for held in list(self.held.values()):
            self._forget(held)
        for mine in (self.attempts, self._todo, self._kept, self._outbox, self._committer):
            mine.clear()
        self._starting.clear()
        self._lookups.clear()
        self._reserved = 0
        self.must_reconcile = False

    def become(self, worker: WorkerInfo) -> None:
        """Go on as another incarnation, after `drop_all`."""
        self.worker, codec = worker, self.codec
        self._decider = Decider(worker.id, worker.build, codec, self._reserve, self.limits)


_VERDICTS = {
    Verdict.COMMITTED: Runner._committed,
    Verdict.LOST: Runner._lost,
    Verdict.UNSEEN: Runner._unseen,
}
