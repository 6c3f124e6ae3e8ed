import time as t
from datetime import date as day
from datetime import datetime as dt

from durable import Workflow, sleep_until, workflow


@workflow
def flow() -> Workflow[str]:
    yield sleep_until(dt.now())  # expect: DUR101 datetime.datetime.now() gives another time
    print_at = t.perf_counter_ns()  # expect: DUR101 time.perf_counter_ns()
    return f"{day.today()} {print_at}"  # expect: DUR101 datetime.date.today()
