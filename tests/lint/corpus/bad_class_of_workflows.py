import time

import durable as d


class Shop:
    @staticmethod
    @d.workflow
    def flow(order: str) -> d.Workflow[None]:
        yield d.sleep(time.time())  # expect: DUR101 time.time()

    @d.activity
    def charge(self) -> float:
        return time.time()
