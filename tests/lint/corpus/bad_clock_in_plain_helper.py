from datetime import UTC, datetime

from durable import Workflow, sleep, workflow


def is_late() -> bool:
    return datetime.now(UTC).hour > 18  # expect: DUR101 (in the workflow flow)


@workflow
def flow() -> Workflow[None]:
    yield sleep(10 if is_late() else 1)
