from durable import Workflow, activity, workflow


@activity
def mail(name: str) -> None: ...


@workflow
def flow(prices: dict[str, int], sold: dict[str, int]) -> Workflow[int]:
    for name in sorted(prices.keys() & sold.keys()):
        yield mail.call(name)
    for name in prices.keys():
        yield mail.call(name)
    both = prices.keys() | sold.keys()
    a, b = sorted({"x", "y"})
    yield mail.call(a + b)
    return len(both)
