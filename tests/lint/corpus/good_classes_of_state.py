from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Generic, Protocol, Self, TypeVar, overload

import requests

from durable import Client, Workflow, activity, logger, now, set_var, sleep, spawn, wait_signal, workflow

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass
class Shipment:
    sku: str
    sent_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    tags: list[str] = field(default_factory=list)
    KINDS: ClassVar[tuple[str, ...]] = ("a", "b")

    @classmethod
    def of(cls, sku: str, sent_at: datetime) -> Self:
        return cls(sku, sent_at)


@dataclass
class Stack(Generic[T]):
    items: list[T] = field(default_factory=list)

    def push(self, item: T) -> None:
        self.items.append(item)
        self.last = item

    def pop(self) -> T:
        return self.items.pop()

    def __len__(self) -> int:
        return len(self.items)

    def __hash__(self) -> int:
        return hash(tuple(self.items))


class Shop:
    """Activities and workflows of one service, and a client that starts them."""

    rate = 0.19

    def __init__(self, client: Client, session: requests.Session) -> None:
        self.client = client
        self.session = session
        self.started = time.time()

    @activity
    def send(self, sku: str) -> str:
        return self.session.post("https://example.org", json={"sku": sku, "at": time.time()}).text

    def start(self, sku: str) -> str:
        print("starting", sku, time.time() - self.started)
        return self.client.start(order, sku).id


class Steps:
    def __init__(self, skus: list[str]) -> None:
        self.todo = Stack(list(skus))
        self.done: dict[str, datetime] = {}

    def all(self) -> Workflow[int]:
        while len(self.todo):
            yield from self.one(self.todo.pop())
        return len(self.done)

    def one(self, sku: str) -> Workflow[None]:
        receipt = yield from Shop.send.call(sku)
        shipment = Shipment(receipt, sent_at=now())
        again = Shipment.of(receipt, now())
        self.done[sku] = max(shipment.sent_at, again.sent_at)
        self.show()

    def show(self) -> None:
        set_var("done", sorted(self.done))
        logger().info("%d are done", len(self.done))

    def later(self) -> None:
        spawn(self.one("late"))


@workflow
def order(*skus: str) -> Workflow[int]:
    steps = Steps(list(skus))
    steps.later()
    steps.todo.push("x")
    count = yield from steps.all()
    yield sleep(len(steps.done))
    return count + len((yield wait_signal("extra", list)))
