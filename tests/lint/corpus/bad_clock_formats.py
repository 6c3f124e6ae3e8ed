import time
from time import localtime

from durable import Workflow, sleep, workflow as flow_of


@flow_of
def flow() -> Workflow[str]:
    yield sleep(localtime().tm_sec)  # expect: DUR101 time.localtime()
    return time.strftime("%H")  # expect: DUR101 time.strftime()
