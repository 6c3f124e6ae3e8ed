from datetime import UTC, datetime

from durable import Workflow, sleep, workflow


def until_noon() -> Workflow[None]:
    while datetime.now(UTC).hour < 12:  # expect: DUR101 (in the workflow flow)
        yield sleep(60)


@workflow
def flow() -> Workflow[None]:
    yield from until_noon()
