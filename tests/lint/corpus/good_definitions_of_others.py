from durable import Workflow, gather, workflow
from shop import activities
from shop.activities import Payments, charge
from shop.flows import shipping


@workflow
def flow(order: str) -> Workflow[str]:
    receipt = yield charge.call(order)
    yield Payments.refund.options(timeout=5).call(receipt)
    yield from shipping(order)
    yield gather(activities.ship.call(order), shipping.call(order))
    quick = charge.options(timeout=1)
    return (yield from quick.call(order))
