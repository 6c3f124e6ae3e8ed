from durable import Workflow, activity, workflow


@activity
def mail(name: str) -> None: ...


def missing(names: list[str]) -> frozenset[str]:
    return frozenset(names)


@workflow
def flow(names: list[str]) -> Workflow[None]:
    for name in missing(names):  # expect: DUR110 missing(names)
        yield mail.call(name)
    for name in {name: len(name) for name in set(names)}:  # expect: DUR110 set(names)
        yield mail.call(name)
