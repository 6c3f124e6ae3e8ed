import datetime as datetimes
import os as system
import os.path as osp
import time as clock
import uuid as ids
from datetime import datetime as dt
from datetime import timezone as tz

import durable as d
from durable import verbs as v


@d.activity
def stamp(text: str) -> str: ...


@d.workflow
def flow(path: str) -> d.Workflow[str]:
    began = clock.time()  # expect: DUR101 time.time() gives another time in each replay
    today = datetimes.date.today()  # expect: DUR101 datetime.date.today() gives another time in each replay
    now = dt.now(tz=tz.utc)  # expect: DUR101 datetime.datetime.now() gives another time in each replay
    later = datetimes.datetime.now() + datetimes.timedelta(days=1)  # expect: DUR101 datetime.datetime.now() gives another time in each replay
    v.sleep(5)  # expect: DUR122 v.sleep(…) is not yielded, so nothing is done
    if osp.exists(path):  # expect: DUR104 os.path.exists() is done again in every replay
        yield d.sleep(began)
    stamp.call(str(ids.uuid4()))  # expect: DUR122 stamp.call(…) is not yielded, so nothing is done # expect: DUR103 uuid.uuid4() makes another one in each replay
    region = system.environ.get("REGION")  # expect: DUR108 os.environ differs from worker to worker
    system.remove(path)  # expect: DUR104 os.remove() is done again in every replay
    receipt = d.gather(stamp.call("a"), stamp.call("b"))  # expect: DUR122 d.gather(…) is no result yet
    return f"{receipt[0]} {today} {now} {later} {region}"


@d.workflow()
def options_forgotten() -> d.Workflow[None]:
    yield stamp.options(timeout=3)  # expect: DUR121 stamp.options(…) is no command
    yield stamp("a")  # expect: DUR121 stamp(…) is called in the workflow
