import random
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from durable import Workflow, sleep, workflow

SESSION = requests.Session()
DICE = random.Random(7)
POOL = ThreadPoolExecutor()
LOCK = threading.Lock()


@workflow
def flow(url: str) -> Workflow[str]:
    yield sleep(DICE.random())  # expect: DUR102 random.Random().random()
    with LOCK:  # expect: DUR107 threading.Lock()
        POOL.submit(len, url)  # expect: DUR107 concurrent.futures.ThreadPoolExecutor().submit()
    return SESSION.get(url).text  # expect: DUR104 requests.Session().get()
