import random as rnd
import threading
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import sleep as nap

import requests

from durable import Workflow, activity, set_var, sleep, wait_until, workflow


@activity
def charge(cents: int) -> str: ...


@dataclass
class Basket:
    lines: list[int] = field(default_factory=list)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)  # expect: DUR103 uuid.uuid4() makes another one in each replay

    def total(self) -> int:
        return sum(self.lines) + rnd.randint(0, 5)  # expect: DUR102 random.randint() draws another number in each replay

    def pay(self) -> Workflow[str]:
        requests.post("https://example.org")  # expect: DUR104 requests.post() is done again in every replay
        return (yield from charge.call(self.total()))


class Steps:
    @staticmethod
    def pause() -> None:
        nap(1)  # expect: DUR106 time.sleep() holds up the worker, again in every replay

    @classmethod
    def log(cls, text: str) -> None:
        print(text)  # expect: DUR105 print() says it again in every replay


@workflow
def checkout(root: Path) -> Workflow[str]:
    basket = Basket([1, 2])
    Steps.pause()
    Steps.log("paid")
    receipt = yield from basket.pay()
    lock = threading.Lock()  # expect: DUR107 threading.Lock() is not repeated in the same order
    with lock:
        (root / "receipts" / "last.txt").write_text(receipt)  # expect: DUR104 pathlib.Path().write_text() is done again in every replay
    draw = partial(rnd.choice, [1, 2, 3])  # expect: DUR102 random.choice draws another number in each replay
    yield wait_until(lambda: (root / "go").exists())  # expect: DUR104 pathlib.Path().exists() is done again in every replay
    set_var("drawn", draw())
    yield sleep(rnd.uniform(1, 2))  # expect: DUR102 random.uniform() draws another number in each replay
    return receipt
