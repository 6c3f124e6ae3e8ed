from __future__ import annotations

import datetime as dt
import logging
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

import requests

from durable import Workflow, activity, gather, on_signal, set_var, sleep, wait_until, workflow

log = logging.getLogger(__name__)
RECENT: dict[str, Order] = {}


@dataclass
class Order:
    id: str
    cents: int
    created_at: dt.datetime = field(default_factory=dt.datetime.now)  # expect: DUR101 datetime.datetime.now gives another time in each replay
    key: str = field(default_factory=lambda: uuid.uuid4().hex)  # expect: DUR103 uuid.uuid4() makes another one in each replay

    def save(self, path: Path) -> None:
        path.write_text(str(asdict(self)))  # expect: DUR104 pathlib.Path().write_text() is done again in every replay
        log.info("saved %s", self.id)  # expect: DUR105 logging.getLogger().info() says it again in every replay

    @property
    def age(self) -> dt.timedelta:
        return dt.datetime.now() - self.created_at  # expect: DUR101 datetime.datetime.now() gives another time in each replay

    @staticmethod
    def parse(text: str) -> Order:
        return Order(text, 5, dt.datetime.today())  # expect: DUR101 datetime.datetime.today() gives another time in each replay

    def remember(self) -> None:
        RECENT[self.id] = self  # expect: DUR109 RECENT lives outside of the workflow and is changed in each replay


class Gateway:
    def pay(self, order: Order) -> str:
        return requests.post("https://example.org", json=asdict(order)).text  # expect: DUR104 requests.post() is done again in every replay


class Rates(Gateway):
    def rate(self) -> float:
        return float(requests.get("https://example.org").text)  # expect: DUR104 requests.get() is done again in every replay


gateway = Rates()


@activity
def pay(order: Order) -> str:
    return gateway.pay(order)


class Flow:
    def __init__(self, order: Order | None) -> None:
        self.order = order or Order.parse("x")
        self.done = False
        on_signal("save", self.on_save)

    def on_save(self, text: str) -> None:
        self.order.save(Path(text))

    def run(self) -> Workflow[str]:
        pay.call(self.order)  # expect: DUR122 pay.call(…) is not yielded, so nothing is done
        yield wait_until(self.is_done)
        self.wait()  # expect: DUR126 self.wait(…) does not run
        return gateway.pay(self.order) + str(gateway.rate())

    def wait(self) -> Workflow[None]:
        yield sleep(1)

    def is_done(self) -> bool:
        self.order.remember()
        return self.done and Path("/tmp/done").exists()  # expect: DUR104 pathlib.Path().exists() is done again in every replay


@workflow
def flow(order: Order) -> Workflow[str]:
    work = Flow(order)
    if order.age > dt.timedelta(1):
        work.run()  # expect: DUR126 work.run(…) does not run
    first = Order("a", 5)
    commands = [pay.call(first), pay.call(order)]
    yield gather(commands)  # expect: DUR122 gather(…) takes commands, not a list
    set_var("receipts", commands)
    return (yield from work.run())
