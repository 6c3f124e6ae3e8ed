"""Activities that are methods: they run on the object that the worker was given."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engine_kit import Engine, tasks_of, until

from durable import Status, Worker, Workflow, activity, current_activity, workflow
from durable.errors import UsageError
from durable.registry import Registry


class Payments:
    """What several activities share."""

    def __init__(self, receipts: dict[str, int]) -> None:
        self.receipts = receipts
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Payments of {len(self.receipts)}>"

    @activity
    def charge(self, order: str, cents: int = 1) -> str:
        with self.lock:
            self.receipts[order] = cents
        return f"{order} by {type(self).__name__}"

    @activity(timeout=5)
    async def refund(self, order: str) -> int:
        return self.receipts.pop(order)

    @staticmethod
    @activity
    def fee(cents: int) -> int:
        return cents // 100

    def plain(self) -> str:
        return "no activity"


class Cards(Payments):
    """Inherits its activities."""


class Cash(Payments):
    @activity(name="Payments.charge")
    def charge(self, order: str, cents: int = 1) -> str:
        return f"{order} in cash: {super().charge(order, cents)}"


@workflow
def order(id: str) -> Workflow[list[Any]]:
    receipt = yield from Payments.charge.call(id, cents=250)
    refunded = yield from Payments.refund.options(retry=None).call(id)
    return [receipt, refunded, (yield Payments.fee.call(refunded))]  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("cls", "receipt"),
    [
        (Payments, "o-1 by Payments"),
        (Cards, "o-1 by Cards"),
        (Cash, "o-1 in cash: o-1 by Cash"),
    ],
)
def test_they_run_on_the_object(engine: Engine, cls: type[Payments], receipt: str) -> None:
    receipts: dict[str, int] = {}
    engine.work([order], [cls(receipts)])
    handle = engine.start(order, "o-1")
    assert handle.result(timeout=20) == [receipt, 250, 2]
    assert receipts == {}
    names = [event.name for event in handle.history() if hasattr(event, "name")]
    assert names == ["Payments.charge", "Payments.refund", "Payments.fee"]


def test_without_an_object_it_waits_for_a_worker_that_has_one(engine: Engine) -> None:
    engine.work([order], [])
    handle = engine.start(order, "o-1")
    until(lambda: tasks_of(engine, handle))
    assert handle.status() is Status.RUNNING
    assert handle.describe()["tasks"][0]["known_by_a_worker"] is False
    engine.work([], [Payments({})])
    assert handle.result(timeout=20)[1] == 250


def test_a_direct_call_is_the_plain_method(engine: Engine) -> None:
    payments = Payments({})
    assert payments.charge("o-2", 5) == "o-2 by Payments"
    assert Payments.charge(payments, "o-3") == "o-3 by Payments"  # type: ignore[arg-type]
    assert payments.receipts == {"o-2": 5, "o-3": 1}
    assert payments.charge.call("o-2", 5) == Payments.charge.call("o-2", 5)
    assert payments.fee(250) == 2  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Payments\.charge\(order: .*cents: .* = 1\): missing"):
        Payments.charge.call()  # type: ignore[call-arg, unused-awaitable]
    with pytest.raises(UsageError, match="inside a running activity"):
        current_activity()

    @workflow
    def wrong() -> Workflow[Any]:
        yield Payments.charge.call("o-4")
        return payments.charge("o-4")

    engine.work([wrong], [payments])
    with pytest.raises(Exception, match=r"Payments\.charge was called inside a workflow"):
        engine.run(wrong)


def test_two_objects_of_one_class_are_refused() -> None:
    first, second = Payments({}), Payments({"x": 1})
    with pytest.raises(UsageError, match="two activity definitions") as caught:
        Registry(activities=[first, second])
    text = str(caught.value)
    assert "<Payments of 0>" in text
    assert "<Payments of 1>" in text
    assert "subclass" in text
    assert "name=" in text
    Registry(activities=[first, first, first.charge])


def test_what_is_no_object_with_activities() -> None:
    for given, text in (
        (Payments, r"is a class.*activities=\[Payments\(…\)\]"),
        (Payments.charge, r"charge is a method: give the worker an object.*\[Payments\(…\)\]"),
        (object(), "is no activity: decorate it with @activity"),
        (order, "is no activity: decorate it with @activity"),
    ):
        with pytest.raises(UsageError, match=text):
            Worker("memory://", activities=[given])


def test_an_override_that_is_no_activity_is_refused() -> None:
    class Sloppy(Payments):
        def charge(self, order: str, cents: int = 1) -> str:  # type: ignore[override]
            return "never"

    with pytest.raises(UsageError, match=r'Sloppy\.charge hides .*name="Payments\.charge"'):
        Registry(activities=[Sloppy({})])


def test_class_methods_are_refused() -> None:
    with pytest.raises(TypeError, match="class method"):

        class Inside:
            @activity
            @classmethod
            def make(cls) -> None: ...

    class Outside:
        @classmethod
        @activity
        def make(cls) -> None: ...

    with pytest.raises(TypeError, match=r"make is a class method"):
        Registry(activities=[Outside()])


def test_a_class_may_refer_to_an_activity() -> None:
    @activity
    def double(number: int) -> int:
        return number * 2

    class Settings:
        task = double

    settings: Any = Settings  # a type checker takes it for a method
    assert settings.task is double
    assert settings().task(2) == 4
    assert not double.unbound
