from durable import Workflow, activity, gather, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(names: list[str], guests: set[str]) -> Workflow[int]:
    for name in sorted(set(names)):
        yield mail.call(name)
    for name in sorted(guests - {"ann"}, reverse=True):
        yield mail.call(name)
    yield gather(*[mail.call(name) for name in sorted(guests | set(names))])
    for name in dict.fromkeys(names):
        yield mail.call(name)
    for name in [name for name in names if name in guests]:
        yield mail.call(name)
    return len(guests)
