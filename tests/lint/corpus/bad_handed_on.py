import time
import uuid

from durable import Workflow, on_signal, sleep, workflow


@workflow
def flow(names: list[str], count: int = 0, since: float = time.time()) -> Workflow[list[str]]:  # expect: DUR101 time.time()
    on_signal("name", print)  # expect: DUR105 print says it again
    yield sleep(since)
    keys = list(iter(uuid.uuid4, None))  # expect: DUR103 uuid.uuid4 makes another one
    return sorted(names, key=hash) + keys  # expect: DUR111 hash is another number
