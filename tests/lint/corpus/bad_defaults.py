from collections import defaultdict

from durable import Workflow, sleep, workflow


@workflow
def flow(names: list[str] = [], *, seen: dict[str, int] = {}) -> Workflow[None]:  # expect: DUR142 the default [] # expect: DUR142 the default {}
    yield sleep(1)


def part(counts=defaultdict(int), names=set()) -> Workflow[None]:  # expect: DUR142 defaultdict(int) # expect: DUR142 set()
    yield sleep(1)


@workflow
def made(rows: list[int] = [i for i in range(3)]) -> Workflow[None]:  # expect: DUR142 the default [i for
    yield sleep(1)


@workflow
def other() -> Workflow[None]:
    yield from part()
