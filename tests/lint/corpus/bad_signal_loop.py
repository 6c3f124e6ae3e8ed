from collections import deque
from datetime import date, datetime, timedelta

import durable
from durable import Workflow, race, sleep, wait_signal, workflow

QUEUE: deque[str] = deque()
STATS = {"seen": 0}


@durable.activity
def bill(user: str) -> None: ...


@workflow
def subscription(user: str, days: int = 30) -> Workflow[None]:
    due = datetime.utcnow() + timedelta(days=days)  # expect: DUR101 datetime.datetime.utcnow() gives another time in each replay
    while True:  # expect: DUR143 this loop never ends, and its history grows
        first = yield race(change=wait_signal("change"), due=sleep(days * 86400))
        STATS["seen"] += 1  # expect: DUR109 STATS lives outside of the workflow and is changed in each replay
        match first.name:
            case "change":
                QUEUE.append(first.value)  # expect: DUR109 QUEUE lives outside of the workflow and is changed in each replay
            case "due":
                bill.call(user)  # expect: DUR122 bill.call(…) is not yielded, so nothing is done
        if date.today() > due.date():  # expect: DUR101 datetime.date.today() gives another time in each replay
            yield sleep(1)


@workflow
def last_wins(names: list[str]) -> Workflow[str]:
    waiting = {name for name in names}
    while waiting:
        name = yield wait_signal("done")
        waiting.discard(name)
        for other in waiting:  # expect: DUR110 the order of waiting differs between processes
            yield bill.call(other)
        one = waiting.pop()  # expect: DUR110 the order of waiting differs between processes
        yield bill.call(one)
    return ",".join(waiting)  # expect: DUR110 the order of waiting differs between processes
