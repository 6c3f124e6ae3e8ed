from durable import Workflow, activity, gather, workflow


@activity
def charge(cents: int) -> str:
    return str(cents)


class Payments:
    @activity
    def refund(self, cents: int) -> None: ...


@workflow
def flow() -> Workflow[str]:
    receipt = charge(5)  # expect: DUR121 write `yield charge.call(…)`
    yield charge(6)  # expect: DUR121 charge(…) is called in the workflow
    yield gather(*[charge(n) for n in range(3)])  # expect: DUR121 charge(…)
    yield Payments.refund(5)  # expect: DUR121 write `yield Payments.refund.call(…)`
    return receipt
