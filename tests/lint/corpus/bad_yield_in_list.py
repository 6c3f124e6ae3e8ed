from durable import Workflow, activity, workflow


@activity
def mail(name: str) -> str:
    return name


@workflow
def flow(names: list[str]) -> Workflow[list[str]]:
    return [(yield mail.call(name)) for name in names]  # expect: DUR123 `yield gather(*[…])`
