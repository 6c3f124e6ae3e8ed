from itertools import chain, islice

from durable import Workflow, activity, workflow


@activity
def fetch() -> set[str]:
    return set()


@activity
def mail(*names: str) -> None: ...


@workflow
def flow(names: list[str]) -> Workflow[str]:
    unique = {name.lower() for name in names}
    both = unique | frozenset(names)
    yield mail.call(*unique)  # expect: DUR110 the order of unique
    yield mail.call(", ".join(both))  # expect: DUR110 the order of both
    first = next(iter(unique))  # expect: DUR110 the order of unique
    yield mail.call(first, both.pop())  # expect: DUR110 the order of both
    for index, name in enumerate(unique):  # expect: DUR110 the order of unique
        yield mail.call(f"{index} {name}")
    for name in (again := set(names)):  # expect: DUR110 the order of (again := set(names))
        yield mail.call(f"{name} {len(again)}")
    found = yield from fetch.call()
    return "".join([name for name in list(found)])  # expect: DUR110 the order of found


@workflow
def chained(names: list[str]) -> Workflow[list[str]]:
    for name in chain(set(names), ["zoe"]):  # expect: DUR110 the order of set(names)
        yield mail.call(name)
    unique = set(names)
    return sorted(chain(unique, names)) + list(islice(unique, 2))  # expect: DUR110 the order of unique
