import random

from durable import Workflow, side_effect, workflow


@workflow
def flow() -> Workflow[float]:
    return (yield from side_effect(random.random()))  # expect: DUR102 random.random()
