from durable import Workflow, workflow
from shop import activities
from shop.activities import charge as pay


@workflow
def flow() -> Workflow[None]:
    yield pay.call(5)
    yield pay(6)  # expect: DUR121 write `yield pay.call(…)`
    yield activities.ship.options(timeout=5).call()
    activities.ship()  # expect: DUR121 write `yield activities.ship.call(…)`
