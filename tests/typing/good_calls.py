"""Activities and workflows: what a call gives, and with which arguments."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from durable import (
    Client,
    Handle,
    Retry,
    Status,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    info,
    sleep,
    workflow,
)


@activity
def charge(order_id: str, cents: int = 100, *, currency: str = "EUR") -> str:
    return f"receipt-{order_id}-{cents}-{currency}-{current_activity().attempt}"


@activity(name="mail", retry=Retry(max_attempts=5), timeout=timedelta(minutes=1), queue="mail")
def send_mail(*to: str, **headers: str) -> None:
    print(to, headers)


@activity(retry=None, timeout=30, schedule_timeout=60, heartbeat_timeout=5.5, on_cancel="request")
def load(keys: list[int]) -> dict[int, str]:
    return {key: str(key) for key in keys}


@activity
def ask(question: str) -> Any:
    return {"question": question}


@activity
async def fetch(url: str) -> bytes:
    return url.encode()


@activity(timeout=5)
async def fetch_all(*urls: str) -> list[bytes]:
    return [url.encode() for url in urls]


def helper(order_id: str) -> Workflow[bytes]:
    receipt = yield from charge.call(order_id)
    return (yield from fetch.call(receipt))


@workflow
def order(order_id: str, cents: int = 100, *, gift: bool = False) -> Workflow[str]:
    receipt = yield from charge.call(order_id, cents, currency="USD")
    assert_type(receipt, str)
    assert_type((yield from charge.options(timeout=5, retry=None).call(order_id)), str)
    assert_type((yield from charge.options(retry=Retry(max_attempts=2)).call(order_id)), str)
    yield from send_mail.call("a@example.org", "b@example.org", subject="paid")
    assert_type((yield from load.call([1, 2])), dict[int, str])
    assert_type((yield from fetch.call("https://example.org")), bytes)
    assert_type((yield from ask.call("why?")), Any)
    assert_type((yield from fetch.options(queue="web").call("https://example.org")), bytes)
    assert_type((yield from fetch_all.call("a", "b")), list[bytes])
    assert_type((yield from helper(order_id)), bytes)
    assert_type((yield charge.call(order_id)), Any)
    return f"{receipt} {gift}"


@workflow(name="nightly", version=2, queue="night", timeout=timedelta(hours=8), retry=Retry())
def nightly() -> Workflow[None]:
    yield sleep(1)
    assert_type(info().instance_id, str)
    assert_type(info().started_at, datetime)


@workflow
def parent(*ids: str, **names: int) -> Workflow[list[str]]:
    receipts: list[str] = []
    for id in ids:
        receipts.append((yield from order.call(id, gift=True)))
    assert_type((yield from order.options(id="o-9", parent_close="abandon").call("o-9", 1)), str)
    yield from nightly.call()
    yield from nightly.options(queue="day").call()
    return receipts + list(names)


@workflow
def pages(cursor: int, found: int = 0) -> Workflow[int | str]:
    yield sleep(timedelta(days=1))
    if cursor > 10:
        return found
    if cursor > 5:
        return "half"
    return continue_as_new(cursor + 1, found=found)


@workflow
def anything(value: Any) -> Workflow[Any]:
    if value:
        return value
    return (yield charge.call("o-1"))


def plain_calls() -> None:
    """What is decorated can be called as a function, in a unit test."""
    assert_type(charge("o-1", 5), str)
    assert_type(load([1]), dict[int, str])
    assert_type(ask("why?")["question"], Any)
    made: Coroutine[Any, Any, bytes] = fetch("https://example.org")
    made.close()
    steps: Workflow[str] = order("o-1")
    assert next(steps) == charge.call("o-1", 100, currency="USD")


async def awaited() -> None:
    assert_type(await fetch("https://example.org"), bytes)
    assert_type(await fetch_all("a"), list[bytes])


def client() -> None:
    here = Client("sqlite:///orders.db", deadline=5)
    handle = here.start(order, "o-1", 500, gift=True)
    assert_type(handle, Handle[str])
    assert_type(handle.result(timeout=60), str)
    assert_type(handle.status(), Status)
    assert_type(here.start(order, order_id="o-1"), Handle[str])
    assert_type(here.start(nightly).result(), None)
    assert_type(here.start(parent, "a", "b", c=5).result(), list[str])
    assert_type(here.start(pages, 1), Handle[int | str])
    assert_type(here.start("order", "o-1", 500), Handle[Any])
    assert_type(here.start("order", "o-1").result(), Any)
    chosen = order.options(
        id="order-1",
        if_exists="use",
        delay=timedelta(hours=1),
        queue="orders",
        version=3,
        memo={"by": "web"},
        tags=["vip"],
        retry=Retry(max_attempts=3),
        timeout=3600,
    )
    assert_type(here.start(chosen, "o-1"), Handle[str])
    assert_type(here.start(order.options(start_at=datetime.now(UTC)), "o-1", cents=5), Handle[str])
    sent = here.signal_or_start(order.options(id="o-2"), "o-2", signal="add", value="tea")
    assert_type(sent, Handle[str])
    assert_type(here.get("o-1"), Handle[Any])
    here.start_many([(order, "o-1"), (nightly.options(id="n"),)])
