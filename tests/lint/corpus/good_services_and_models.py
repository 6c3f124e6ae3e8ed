"""Models and services that activities use, in one file with workflows that only pass them on."""

from __future__ import annotations

import abc
import datetime as dt
import logging
import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NewType

import requests
from sqlalchemy import select
from sqlalchemy.orm import Session

from durable import ActivityError, Client, Workflow, activity, gather, now, sleep, uuid4, workflow

log = logging.getLogger(__name__)
OrderId = NewType("OrderId", str)


@dataclass
class Order:
    id: OrderId
    cents: int
    created_at: dt.datetime = field(default_factory=dt.datetime.now)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    lines: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, session: Session, id: str) -> Order:
        return session.scalars(select(cls).where(cls.id == id)).one()

    def save(self, path: Path) -> None:
        path.write_text(str(asdict(self)))
        log.info("saved %s", self.id)

    @property
    def total(self) -> int:
        return self.cents + sum(self.lines.values())

    def with_line(self, sku: str, cents: int) -> Order:
        lines = dict(self.lines)
        lines[sku] = cents
        return replace(self, lines=lines)


class Gateway(abc.ABC):
    @abc.abstractmethod
    def pay(self, order: Order) -> str: ...


class Http(Gateway):
    def __init__(self, url: str = os.environ.get("GATEWAY", "")) -> None:
        self.url = url
        self.session = requests.Session()

    def pay(self, order: Order) -> str:
        return self.session.post(self.url, json=asdict(order)).text


gateway: Gateway = Http()


@activity
def pay(order: Order) -> str:
    order.save(Path("/tmp") / order.id)
    return gateway.pay(order)


@activity
def refund(order: Order) -> None:
    print("refund", Order(order.id, 5), dt.datetime.now())


class Service:
    def __init__(self, client: Client) -> None:
        self.client = client

    def submit(self, order: Order) -> str:
        order.save(Path("/tmp/x"))
        return self.client.start(flow.options(id=str(uuid.uuid4())), order).id


@workflow
def flow(order: Order, others: list[Order]) -> Workflow[dict[str, Any]]:
    order = order.with_line("shipping", 5)
    copy = Order(order.id, order.total, now(), str(uuid4()))
    again = Order(id=order.id, cents=5, created_at=now(), key="k", lines=order.lines)
    try:
        receipts = yield gather(*[pay.call(each) for each in (copy, again, *others)])
    except ActivityError:
        yield gather(*map(refund.call, others))
        raise
    yield sleep(order.total)
    data = asdict(copy)
    data.update(receipts=receipts, at=max(o.created_at for o in others))
    return data
