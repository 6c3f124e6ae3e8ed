from durable import Workflow, activity, sleep, workflow


@activity
def mail(name: str) -> str:
    return name


@workflow
def flow(names: list[str]) -> Workflow[int]:
    texts = {name: (yield from mail.call(name)) for name in names}  # expect: DUR123 a comprehension
    count = sum(len((yield mail.call(name))) for name in names)  # expect: DUR123 cannot yield
    yield sleep(len(texts))
    return count
