from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from durable import Winner, Workflow, activity, gather, race, sleep, spawn, wait_signal, workflow


@dataclass
class Add:
    item: str


@dataclass
class Remove:
    item: str


Event = Add | Remove


@activity
def price(item: str) -> int: ...


def pairs(items: list[str]) -> Iterator[tuple[int, str]]:
    for index, item in enumerate(items):
        yield index, item


@workflow
def cart(until: datetime, *first: str, **options: Any) -> Workflow[dict[str, Any]]:
    items = list(first)
    while (answer := (yield race(wait_signal("event"), sleep(60)))).index == 0:
        match answer.value:
            case Add(item) | {"kind": "add", "item": item}:
                items.append(item)
            case Remove(item=item) if item in items:
                items.remove(item)
            case [*several]:
                items.extend(several)
            case {"kind": kind, **rest}:
                options[kind] = rest
            case str() as id if id:
                items.append(id)
            case None:
                break
    if any((found := item).startswith("x") for item in items):
        items.insert(0, found)
    total = 0
    for index, item in pairs(items):
        total += (yield price.call(item)) * (index + 1)
    prices = dict(zip(items, (yield gather(*[price.call(item) for item in items])), strict=True))
    day = f"{until:%Y-%m-%d} {until + timedelta(days=1):%d}"
    hash = sum(map(len, items))
    task = spawn(price.call("last"))
    assert isinstance(answer, Winner), f"{answer!r}"
    return {"total": total, "prices": prices, "day": day, "hash": hash, "last": (yield task)}
