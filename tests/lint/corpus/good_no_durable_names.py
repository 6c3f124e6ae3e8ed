import time

import durable


def workflow(function):
    return function


@workflow
def flow() -> float:
    return time.time()


class Local:
    workflow = staticmethod(workflow)

    @workflow
    def flow(self) -> float:
        return time.time()


client = durable.Client("memory://")
