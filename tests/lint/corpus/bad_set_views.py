from durable import Workflow, activity, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(prices: dict[str, int], sold: dict[str, int]) -> Workflow[None]:
    for name in prices.keys() & sold:  # expect: DUR110 prices.keys() & sold
        yield mail.call(name)
    a, b = {"x", "y"}  # expect: DUR110 use sorted(…)
    yield mail.call(a + b)
