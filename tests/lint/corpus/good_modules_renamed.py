import datetime as datetimes
import os.path as osp
import time as clock
import uuid as ids
from datetime import datetime as dt
from datetime import timezone as tz
from pathlib import PurePosixPath

import durable
from durable import testing as kit
from durable import verbs as v

STARTED = clock.time()
HERE = osp.dirname(__file__)
BOOT_ID = ids.uuid4()


@durable.activity
def stamp(text: str) -> str:
    return f"{text} {clock.time()} {dt.now(tz.utc)} {ids.uuid4()}"


@durable.workflow
def flow(day: str, path: str) -> durable.Workflow[str]:
    moment = dt.fromisoformat(day).replace(tzinfo=tz.utc)
    later = v.now() + datetimes.timedelta(days=1)
    if moment < later:
        yield v.sleep_until(later)
    name = osp.join(HERE, osp.basename(path))
    parts = PurePosixPath(path).with_suffix(".txt").name
    date = datetimes.date(2026, 1, 1).isoformat()
    text = clock.strftime("%H:%M", clock.gmtime(0))
    key = ids.uuid5(ids.NAMESPACE_DNS, name)
    return (yield from stamp.call(f"{parts} {date} {text} {key} {STARTED} {BOOT_ID}"))


def test_flow() -> None:
    env = kit.WorkflowEnv(flow, activities=[stamp])
    assert env.run("2026-01-01", "a/b")
    assert clock.time() > STARTED
