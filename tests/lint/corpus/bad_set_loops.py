from durable import Workflow, activity, gather, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(names: list[str], guests: set[str]) -> Workflow[None]:
    for name in set(names):  # expect: DUR110 the order of set(names) differs
        yield mail.call(name)
    for name in {"ann", "ben"}:  # expect: DUR110 use sorted(…)
        yield mail.call(name)
    for name in guests:  # expect: DUR110 the order of guests
        yield mail.call(name)
    yield gather(*[mail.call(name) for name in guests - {"ann"}])  # expect: DUR110 guests - {'ann'}
