"""The load of a campaign: clients that start, signal and cancel, at random, and log it."""

from __future__ import annotations

import random
import threading
from types import TracebackType

from campaign_flows import ENOUGH, TELL, order, order_found, patient
from campaign_log import Log, Outcome, Story, outcome_of

from durable import Client
from durable.errors import InstanceFinished
from durable.store import Store

CLIENTS = 2
PACE = 0.05
"""Seconds between two operations of a client, on average."""
MOST_OPEN = 40
"""Instances of one client that have not been told enough."""
HASTE = (0.0, 0.1)
"""Deadlines of the calls that are not patient."""


class Load:
    """Clients in threads of their own, from entering a block to its end.

    Some of the calls are patient: they are repeated until the outcome is known.  The others
    soon take what they are told, so that failures and unknown outcomes are seen, too.
    """

    def __init__(self, store: Store, log: Log, chance: random.Random) -> None:
        self.log = log
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._clients = [_Sender(self, store, name, chance.random()) for name in range(CLIENTS)]
        self._threads = [
            threading.Thread(target=self._run, args=(client,), daemon=True)
            for client in self._clients
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Tell all that is left what they wait for."""
        for client in self._clients:
            client.finish()

    def _run(self, client: _Sender) -> None:
        try:
            while not self._stop.wait(client.chance.uniform(0, 2 * PACE)):
                client.act()
        except BaseException as error:
            self._failure = error


class _Sender:
    """One client, which acts on instances of its own, one call after the other."""

    def __init__(self, load: Load, store: Store, name: int, seed: float) -> None:
        self.chance = random.Random(seed)
        self._log = load.log
        self._name = name
        self._patient = Client(store)
        self._clients = [self._patient, *(Client(store, deadline=wait) for wait in HASTE)]
        self._count = 0
        self._open: list[Story] = []

    def act(self) -> None:
        """Do something, by chance."""
        kind = self.chance.random()
        if not self._open or (kind < 0.3 and len(self._open) < MOST_OPEN):
            self._start(self.chance.choice(self._clients))
            return
        story = self.chance.choice(self._open)
        if story.result is None:
            self._cancel(self.chance.choice(self._clients), story)
        elif kind > 0.85:
            self._tell(self._patient, story, ENOUGH)
        else:
            self._tell(self.chance.choice(self._clients), story, len(story.told))

    def finish(self) -> None:
        for story in list(self._open):
            if story.result is None:
                self._cancel(self._patient, story)
            else:
                self._tell(self._patient, story, ENOUGH)

    def _start(self, client: Client) -> None:
        number = self._count = self._count + 1
        waits = self.chance.random() < 0.1
        story = Story(f"{self._name}-{number}", None if waits else order_found(number))
        flow = patient if waits else order
        options = flow.options(id=story.id, if_exists="use")
        story.starts.append(outcome_of(lambda: client.start(options, number)))
        if story.starts == [Outcome.UNKNOWN]:  # the same again finds its own
            story.starts.append(outcome_of(lambda: self._patient.start(options, number)))
        self._log.add(story)
        if Outcome.ACKNOWLEDGED in story.starts:
            self._open.append(story)

    def _tell(self, client: Client, story: Story, value: int) -> None:
        outcome = outcome_of(lambda: client.signal(story.id, TELL, value))
        story.told.append((value, outcome))
        if value == ENOUGH:
            assert outcome is Outcome.ACKNOWLEDGED, f"{story.id}: a patient call is {outcome}"
            self._open.remove(story)

    def _cancel(self, client: Client, story: Story) -> None:
        try:
            outcome = outcome_of(lambda: client.cancel(story.id))
        except InstanceFinished:  # so one whose outcome was unknown has been applied
            assert Outcome.UNKNOWN in story.cancels
        else:
            story.cancels.append(outcome)
            if outcome is not Outcome.ACKNOWLEDGED:
                return
        self._open.remove(story)
