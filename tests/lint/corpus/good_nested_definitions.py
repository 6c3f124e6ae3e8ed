import time

from durable import Workflow, activity, sleep, workflow


def make():
    @activity
    def stamp() -> float:
        return time.time()

    @workflow
    def flow() -> Workflow[float]:
        def unused() -> float:
            return time.time()

        class Point:
            x = 1

            def now(self) -> float:
                return time.time()

        yield sleep(Point.x)
        return (yield from stamp.call())

    return flow, stamp
