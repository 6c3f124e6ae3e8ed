import sqlite3

import redis

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    db = sqlite3.connect("shop.db")  # expect: DUR104 sqlite3.connect()
    db.execute("DELETE FROM orders")
    yield sleep(1)
    redis.Redis().incr("orders")  # expect: DUR104 redis.Redis()
