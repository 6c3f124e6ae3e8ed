"""Activities that are methods of an object which a worker is given."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

from durable import Orchestrator, Worker, Workflow, activity, workflow


class Payments:
    def __init__(self, bank: dict[str, int]) -> None:
        self.bank = bank

    @activity
    def charge(self, order_id: str, cents: int = 100) -> str:
        self.bank[order_id] = cents
        return f"receipt-{order_id}"

    @activity(retry=None, timeout=5)
    def balance(self) -> int:
        return sum(self.bank.values())

    @activity
    async def report(self, year: int) -> list[str]:
        return [f"{year}: {self.balance()}"]

    @activity(queue="slow")
    async def audit(self, *, year: int) -> bool:
        return bool(self.bank) and year > 0

    @activity
    @staticmethod
    def currencies() -> list[str]:
        return ["EUR", "USD"]


class CardPayments(Payments):
    @activity
    def block(self, card: str) -> bool:
        return card in self.bank


@workflow
def pays(order_id: str) -> Workflow[int]:
    assert_type((yield from Payments.charge.call(order_id)), str)
    assert_type((yield from Payments.charge.call(order_id, cents=5)), str)
    assert_type((yield from Payments.charge.options(timeout=5).call(order_id, 5)), str)
    assert_type((yield from Payments.report.call(2026)), list[str])
    assert_type((yield from Payments.report.options(retry=None).call(2026)), list[str])
    assert_type((yield from Payments.audit.call(year=2026)), bool)
    assert_type((yield from Payments.currencies.call()), list[str])
    assert_type((yield from CardPayments.charge.call(order_id)), str)
    assert_type((yield from CardPayments.block.call("card-1")), bool)
    return (yield from Payments.balance.call())


def on_an_object() -> None:
    payments = CardPayments({})
    assert_type(payments.charge("o-1", 5), str)
    assert_type(payments.balance(), int)
    assert_type(payments.block("card-1"), bool)
    assert_type(payments.currencies(), list[str])
    made: Coroutine[Any, Any, list[str]] = payments.report(2026)
    made.close()


def runs() -> None:
    payments = Payments({})
    worker = Worker("sqlite:///x.db", workflows=[pays], activities=[payments], executor="thread")
    worker.run()
    with Orchestrator("memory://", workflows=[pays], activities=[payments.charge]) as here:
        assert_type(here.client.start(pays, "o-1").result(), int)
    here.worker.stop()
