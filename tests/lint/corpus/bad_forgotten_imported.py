from durable import Workflow, sleep, verbs, workflow
from shop.activities import charge


@workflow
def flow() -> Workflow[None]:
    charge.call(5)  # expect: DUR122 charge.call(…) is not yielded
    verbs.wait_until(bool)  # expect: DUR122 verbs.wait_until(…)
    yield sleep(1)
