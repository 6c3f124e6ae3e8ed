import random

from durable import Workflow, sleep, workflow


@workflow
def flow(names: list[str]) -> Workflow[str]:
    yield sleep(random.uniform(1, 2))  # expect: DUR102 random.uniform() draws another number
    random.shuffle(names)  # expect: DUR102 use random()
    return names[0]
