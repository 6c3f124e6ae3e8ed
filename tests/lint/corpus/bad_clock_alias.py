import datetime
from time import time

import durable

clock = datetime.datetime.utcnow


@durable.workflow(name="shop.flow", timeout=60)
def flow() -> durable.Workflow[None]:
    if clock().hour < 12:  # expect: DUR101 datetime.datetime.utcnow()
        yield durable.sleep(time())  # expect: DUR101 use now()
