import functools
import logging
import time

from durable import Workflow, activity, logger, sleep, workflow


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        began = time.perf_counter()  # expect: DUR101 time.perf_counter() gives another time in each replay
        try:
            return (yield from function(*args, **kwargs))
        except BaseException as error:  # expect: DUR131 except BaseException makes a failure of a cancel
            logging.exception("failed")  # expect: DUR105 logging.exception() says it again in every replay
            raise RuntimeError("failed") from error
        finally:
            logging.info("took %s", time.perf_counter() - began)  # expect: DUR105 logging.info() says it again in every replay # expect: DUR101 time.perf_counter() gives another time in each replay

    return wrapper


@activity
def charge(n: int) -> int: ...


@workflow
@traced
def flow(n: int) -> Workflow[int]:
    first = charge.call(n)  # expect: DUR122 charge.call(…) is no result yet
    yield sleep(1)
    if first > 5:
        logger().info("much")
    return n
