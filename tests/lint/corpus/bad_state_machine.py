import enum
import random
import time
from collections import defaultdict, deque
from typing import Any

from durable import Channel, Workflow, activity, continue_as_new, on_signal, race, sleep, spawn, wait_signal, workflow

AUDIT: deque[str] = deque(maxlen=10)


class Phase(enum.Enum):
    DRAFT = "draft"
    DONE = "done"


@activity
def notify(phase: str) -> None: ...


class Machine:
    instances: list[Any] = []
    count = 0

    def __init__(self) -> None:
        self.phase = Phase.DRAFT
        self.voters: set[str] = set()
        self.by_voter: defaultdict[str, set[int]] = defaultdict(set)
        Machine.instances.append(self)  # expect: DUR109 Machine lives outside of the workflow and is changed in each replay
        Machine.count += 1  # expect: DUR109 Machine lives outside of the workflow and is changed in each replay
        on_signal("vote", self.vote)

    def vote(self, name: str) -> None:
        self.voters.add(name)
        AUDIT.append(f"{time.time()} {name}")  # expect: DUR109 AUDIT lives outside of the workflow and is changed in each replay # expect: DUR101 time.time() gives another time in each replay

    def winner(self) -> str:
        first = list(self.voters)[0]  # expect: DUR110 the order of self.voters differs between processes
        return first if random.random() > 0.5 else self.voters.copy().pop()  # expect: DUR102 random.random() draws another number in each replay # expect: DUR110 the order of self.voters.copy() differs between processes

    def run(self) -> Workflow[None]:
        while True:  # expect: DUR143 this loop never ends, and its history grows
            yield sleep(60)
            notify.call(self.phase.value)  # expect: DUR122 notify.call(…) is not yielded, so nothing is done
            for voter in self.voters - {"admin"}:  # expect: DUR110 the order of self.voters - {'admin'} differs between processes
                spawn(self.tell(voter))
                self.tell(voter)  # expect: DUR126 self.tell(…) does not run

    def tell(self, voter: str) -> Workflow[None]:
        yield notify.call(voter)


@workflow
def election(names: list[str]) -> Workflow[str]:
    machine = Machine()
    jobs: Channel[str] = Channel(1)
    jobs.send(names[0])  # expect: DUR122 jobs.send(…) is not yielded, so nothing is done
    answer = race(wait_signal("go"), sleep(5))  # expect: DUR122 race(…) is no result yet
    match answer.index:
        case 0:
            yield from machine.run()
        case _:
            continue_as_new(names)
    yield [notify.call(name) for name in names]  # expect: DUR122 several commands are no command
    text = " ".join(machine.voters)  # expect: DUR110 the order of machine.voters differs between processes
    return machine.winner() + text
