import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pool

from durable import Workflow, sleep, workflow


def work() -> None: ...


@workflow
def flow() -> Workflow[None]:
    threading.Thread(target=work).start()  # expect: DUR107 use gather, race or spawn
    with ThreadPoolExecutor() as pool:  # expect: DUR107 concurrent.futures.ThreadPoolExecutor()
        pool.submit(work)
    with Pool(2) as processes:  # expect: DUR107 multiprocessing.Pool()
        processes.map(work, [])
    asyncio.run(work())  # expect: DUR107 asyncio.run()
    yield sleep(1)
