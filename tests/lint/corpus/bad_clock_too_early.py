import time

from durable import Workflow, side_effect, workflow


def plain(at: float) -> float:
    return at


@workflow
def flow() -> Workflow[float]:
    return (yield from side_effect(plain, time.time()))  # expect: DUR101 time.time()
