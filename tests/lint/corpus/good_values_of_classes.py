from dataclasses import dataclass
from operator import add

import operator

from durable import Workflow, sleep, workflow


@dataclass(frozen=True)
class Money:
    cents: int

    def add(self, cents: int) -> "Money":
        return Money(self.cents + cents)

    @staticmethod
    def update(cents: int) -> int:
        return cents


ZERO = Money(0)
NAMES = ("ann", "ben")


@workflow
def flow() -> Workflow[int]:
    total = ZERO.add(5)
    yield sleep(Money.update(total.cents))
    yield sleep(operator.add(1, 2) + add(1, 2) + NAMES.index("ben"))
    return total.cents
