import os
import random
import subprocess
import threading
import time
import uuid
from datetime import datetime

from durable import Workflow, activity, workflow

TOTAL: dict[str, int] = {}


@activity
def work(name: str) -> str:
    TOTAL[name] = 1
    threading.Thread(target=print).start()
    time.sleep(0.1)
    subprocess.run(["true"], check=True)
    with open(os.environ["FILE"]) as file:
        print(file.read(), hash(name))
    for each in {name}:
        print(each)
    return f"{time.time()} {random.random()} {uuid.uuid4()} {datetime.now()}"


@workflow
def flow() -> Workflow[str]:
    return (yield from work.call("ann"))
