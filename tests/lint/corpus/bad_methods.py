from __future__ import annotations

import time
import uuid
from abc import ABC
from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional

from durable import Workflow, activity, gather, sleep, spawn, workflow


@activity
def send(sku: str) -> str: ...


@dataclass
class Shipment:
    sku: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))  # expect: DUR103 uuid.uuid4() makes another one in each replay
    sent_at: datetime = field(default_factory=datetime.now)  # expect: DUR101 datetime.datetime.now gives another time in each replay
    seen: set[str] = field(default_factory=set)


class Base(ABC):
    started: float

    def begin(self) -> None:
        self.started = time.time()  # expect: DUR101 time.time() gives another time in each replay

    def pause(self) -> Workflow[None]:
        yield sleep(1)


class Steps(Base):
    shared: list[str] = []

    def __init__(self, skus: list[str], at: Optional[datetime] = None) -> None:
        self.skus = skus
        self.at = at or datetime.now()  # expect: DUR101 datetime.datetime.now() gives another time in each replay

    def one(self, sku: str) -> Workflow[Shipment]:
        send.call(sku)  # expect: DUR122 send.call(…) is not yielded, so nothing is done
        yield send.call(sku)
        self.pause()  # expect: DUR126 self.pause(…) does not run
        return Shipment(sku)

    def all(self) -> Workflow[None]:
        self.begin()
        for sku in set(self.skus):  # expect: DUR110 the order of set(self.skus) differs between processes
            yield from self.one(sku)
        yield gather(self.one("a"), self.one("b"))  # expect: DUR126 self.one(…) is a generator, no command # expect: DUR126 self.one(…) is a generator, no command

    @property
    def age(self) -> float:
        return time.time() - self.started  # expect: DUR101 time.time() gives another time in each replay

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *error: object) -> None:
        print("left")  # expect: DUR105 print() says it again in every replay


@workflow
def order(skus: list[str], given: Steps) -> Workflow[float]:
    with Steps(skus) as steps:
        yield from steps.all()
    again = Steps(skus)
    again.all()  # expect: DUR126 again.all(…) does not run
    spawn(again.all())
    yield sleep(given.age)
    given.pause()  # expect: DUR126 given.pause(…) does not run
    for shipment in Shipment("a").seen:  # expect: DUR110 the order of Shipment('a').seen
        yield send.call(shipment)
    return again.age
