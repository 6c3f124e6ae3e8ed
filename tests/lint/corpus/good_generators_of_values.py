from collections.abc import Iterator

from durable import Workflow, activity, gather, workflow


@activity
def mail(names: list[str]) -> None: ...


def chunks(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


@workflow
def flow(names: list[str]) -> Workflow[int]:
    for chunk in chunks(names, 10):
        yield mail.call(chunk)
    yield gather(*[mail.call(chunk) for chunk in chunks(names, 5)])
    return len(list(chunks(names, 2)))
