from durable import Workflow, activity, workflow


@activity
def mail(text: str) -> None: ...


@workflow
def flow(prices: dict[str, int], set: list[str]) -> Workflow[None]:
    for name, cents in prices.items():
        yield mail.call(f"{name} {cents}")
    for name in set:
        yield mail.call(name)
    chosen = {"ann"}
    chosen = sorted(chosen)
    for name in chosen:
        yield mail.call(name)
    flags = 1 | 4
    for bit in range(flags):
        yield mail.call(str(bit))
    for name in prices | {"ann": 5}:
        yield mail.call(name)
