from durable import Workflow, activity, workflow


class Payments:
    def __init__(self) -> None:
        self.log: list[str] = []

    @activity
    def charge(self, cents: int) -> str:
        self.log.append("charged")
        return str(cents)


@workflow
def flow() -> Workflow[str]:
    return (yield from Payments.charge.call(5))
