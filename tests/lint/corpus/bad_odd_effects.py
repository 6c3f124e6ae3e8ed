import email.utils
import queue
import sys
import time
import traceback

from durable import Workflow, sleep, workflow

ORDERS: queue.Queue[str] = queue.Queue()


@workflow
def flow() -> Workflow[str]:
    own = queue.Queue()
    yield sleep(len(str(own.get_nowait())))
    order = ORDERS.get()  # expect: DUR107 queue.Queue().get() is not repeated in the same order
    text = sys.stdin.read()  # expect: DUR104 sys.stdin.read()
    breakpoint()  # expect: DUR104 breakpoint()
    try:
        moment = time.gmtime(None)  # expect: DUR101 time.gmtime()
    except ValueError:
        traceback.print_exc()  # expect: DUR105 traceback.print_exc()
    yield sleep(len(order))
    if object().__hash__() % 2:  # expect: DUR111 object().__hash__()
        return email.utils.formatdate()  # expect: DUR101 email.utils.formatdate()
    return text + email.utils.formatdate(0) + str(moment)
