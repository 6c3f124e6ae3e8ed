from durable import Workflow, sleep, workflow
from durable import activity as act


@act(retry=None)
def charge(cents: int) -> None: ...


def pay_twice() -> Workflow[None]:
    yield charge.call(1)
    charge(2)  # expect: DUR121 write `yield charge.call(…)` (in the workflow flow)


@workflow
def flow() -> Workflow[None]:
    yield from pay_twice()
    yield sleep(1)
