import time

from durable import Workflow, activity, sleep, workflow


@activity
def charge(cents: int) -> None: ...


@workflow
def flow() -> Workflow[float]:
    at = time.time()  # noqa: DUR101
    time.sleep(at)  # noqa
    charge.call(  # noqa: E501, DUR122
        5,
    )
    charge.call(
        6,
    )  # noqa: DUR12 — all that begins so
    for name in {"ann"}:  # NOQA:DUR110
        print(name)  # noqa: DUR101,DUR105
    yield sleep(1)
    return time.time() - at  # fine here  # noqa: DUR101
