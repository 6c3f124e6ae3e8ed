"""Workflows with planted bugs, each beside its sound version; `test_explore` finds the bugs.

A world stands for what is outside: activities change it, invariants look at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from durable import (
    ActivityError,
    Cancelled,
    ChildWorkflowError,
    Retry,
    TimeoutExpired,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    gather,
    info,
    on_signal,
    race,
    shield,
    side_effect,
    sleep,
    timeout,
    wait_signal,
    workflow,
)
from durable.testing import WorkflowEnv

WORLD: Counter[str] = Counter()
"""What was done outside."""
KEYS: set[str] = set()
"""Idempotency keys that the outside has seen."""


def once(what: str, amount: int = 1) -> None:
    """Done once for an idempotency key."""
    key = current_activity().idempotency_key
    if key not in KEYS:
        KEYS.add(key)
        WORLD[what] += amount


@activity(retry=Retry(max_attempts=3, first_delay=1))
def charge() -> str:
    once("charged")
    return "receipt"


@activity(retry=Retry(max_attempts=3, first_delay=1))
def charge_carelessly() -> str:
    WORLD["charged"] += 1
    return "receipt"


@activity(retry=Retry(max_attempts=None, first_delay=1))
def refund() -> None:
    """Takes a charge back, if there was one."""
    if WORLD["charged"]:
        once("refunded")


@activity(retry=Retry(max_attempts=None, first_delay=1))
def refund_carelessly() -> None:
    if WORLD["charged"]:
        WORLD["refunded"] += 1


@activity
def ship() -> str:
    if WORLD["refunded"]:
        WORLD["shipped and refunded"] += 1
    WORLD["shipped"] += 1
    return "shipped"


@activity(retry=Retry(max_attempts=None, first_delay=1))
def unlock() -> None:
    WORLD["locked"] = 0


@activity(retry=Retry(max_attempts=None, first_delay=1))
def lock() -> None:
    WORLD["locked"] = 1


@activity(retry=Retry(max_attempts=None, first_delay=1))
def note(what: str) -> None:
    once(what)


ACTIVITIES = [
    charge, charge_carelessly, refund, refund_carelessly, ship, unlock, lock, note,
]  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """A workflow with a bug, the sound one, and what must hold.

    says: a part of what the report of the bug says.
    """

    wrong: Any
    right: Any
    kept: Callable[[WorkflowEnv], object]
    says: str
    setup: Callable[[WorkflowEnv], object] = lambda env: None
    options: dict[str, Any] = field(default_factory=dict)

    def begin(self, env: WorkflowEnv) -> None:
        WORLD.clear()
        KEYS.clear()
        STATE.clear()
        self.setup(env)


STATE: list[int] = []


# -- a lost compensation ----------------------------------------------------------------


@workflow
def forgets_to_refund() -> Workflow[str]:
    yield charge.call()
    return (yield from ship.call())  # if this fails, the money is gone


@workflow
def refunds() -> Workflow[str]:
    try:
        yield charge.call()
        return (yield from ship.call())
    except ActivityError:
        yield refund.call()
        return "refunded"


def paid_for_goods(env: WorkflowEnv) -> None:
    if str(env.status) == "failed" or WORLD["refunded"]:
        assert WORLD["charged"] == WORLD["refunded"], dict(WORLD)


# -- a double charge when it is tried again ---------------------------------------------


@workflow
def charges_twice() -> Workflow[str]:
    return (yield from charge_carelessly.call())


@workflow
def charges_once() -> Workflow[str]:
    return (yield from charge.call())


def charged_at_most_once(env: WorkflowEnv) -> None:
    assert WORLD["charged"] <= 1, dict(WORLD)


# -- a side effect that is no pure reading ----------------------------------------------


def reserve() -> int:
    WORLD["reserved"] += 1
    return WORLD["reserved"]


@workflow
def reserves_in_a_side_effect() -> Workflow[int]:
    number = yield from side_effect(reserve)
    yield sleep(1)
    return number


@workflow
def reserves_in_an_activity() -> Workflow[None]:
    yield note.call("reserved")
    yield sleep(1)


def reserved_once(env: WorkflowEnv) -> bool:
    return WORLD["reserved"] == 1


# -- a race on the order of signals -----------------------------------------------------


@workflow
def takes_the_last_word() -> Workflow[str]:
    """Whichever comes last counts: the answer depends on their order."""
    last = ""
    for _ in range(2):
        got = yield race(approve=wait_signal("approve"), reject=wait_signal("reject"))
        last = str(got.name)
    return last


@workflow
def rejection_counts() -> Workflow[str]:
    names = set()
    for _ in range(2):
        got = yield race(approve=wait_signal("approve"), reject=wait_signal("reject"))
        names.add(got.name)
    return "reject" if "reject" in names else "approve"


def both_at_once(env: WorkflowEnv) -> None:
    env.at(seconds=1, do=lambda: env.signal("approve"))
    env.at(seconds=1, do=lambda: env.signal("reject"))


def is_rejected(env: WorkflowEnv) -> None:
    assert env.result() == "reject"


# -- a clean-up that a cancel skips -----------------------------------------------------


@workflow
def stays_locked() -> Workflow[None]:
    yield lock.call()
    try:
        yield sleep(3600)
    except Cancelled:
        yield unlock.call()  # raises Cancelled again: nothing is done
        raise
    yield unlock.call()


@workflow
def unlocks() -> Workflow[None]:
    try:
        yield lock.call()
        yield sleep(3600)
    finally:
        with shield():
            yield unlock.call()


def cancelled_some_time(env: WorkflowEnv) -> None:
    env.at(seconds=3600, do=env.cancel)


def is_unlocked(env: WorkflowEnv) -> bool:
    return not WORLD["locked"]


# -- stuck behind a time limit ----------------------------------------------------------


@workflow
def waits_without_end() -> Workflow[str]:
    try:
        with timeout(1800):
            yield charge.call()
            return "done"
    except TimeoutExpired:
        yield wait_signal("operator")  # whom nobody tells
        return "late"


@workflow
def gives_up() -> Workflow[str]:
    try:
        with timeout(1800):
            yield charge.call()
            return "done"
    except TimeoutExpired:
        yield refund.call()
        return "late"


def always(env: WorkflowEnv) -> bool:
    return True


# -- the result of a late child ---------------------------------------------------------


@workflow
def supplier() -> Workflow[str]:
    return (yield from ship.call())


@workflow
def orders_elsewhere() -> Workflow[str]:
    """The child goes on when it has lost the race, and ships what was refunded."""
    child = supplier.options(parent_close="abandon")
    won = yield race(shipped=child.call(), late=sleep(60))
    if won.name == "late":
        yield note.call("refunded")
    return str(won.name)


@workflow
def orders_and_waits() -> Workflow[str]:
    try:
        yield supplier.call()
        return "shipped"
    except ChildWorkflowError:
        yield note.call("refunded")
        return "refunded"


def not_both(env: WorkflowEnv) -> None:
    env.advance(days=3)  # whoever is late comes now
    assert not WORLD["shipped and refunded"], dict(WORLD)


# -- the state of a module --------------------------------------------------------------


@workflow
def counts_in_its_module() -> Workflow[None]:
    STATE.append(1)
    if len(STATE) % 3:  # another number when it is replayed
        yield note.call("odd")
    yield sleep(1)


@workflow
def counts_by_itself() -> Workflow[None]:
    state = [1]
    if len(state) % 3:
        yield note.call("odd")
    yield sleep(1)


# -- a signal that the next run never sees ----------------------------------------------


RUNS = 3


@workflow
def forgets_what_comes_late(seen: int = 0) -> Workflow[int]:
    news: list[Any] = []
    on_signal("more", news.append)
    yield sleep(10)
    total = seen + len(news)
    yield note.call("counted")  # what comes now is taken from the inbox, and not counted
    return total if info().run == RUNS else continue_as_new(total)


@workflow
def counts_at_the_end(seen: int = 0) -> Workflow[int]:
    news: list[Any] = []
    on_signal("more", news.append)
    yield sleep(10)
    yield note.call("counted")
    total = seen + len(news)
    return total if info().run == RUNS else continue_as_new(total)


def two_signals(env: WorkflowEnv) -> None:
    env.at(seconds=10, do=lambda: env.signal("more"))
    env.at(seconds=10, do=lambda: env.signal("more"))


def two_were_seen(env: WorkflowEnv) -> None:
    assert env.result() == 2, env.result()


# -- a compensation that runs twice -----------------------------------------------------


@workflow
def refunds_twice() -> Workflow[None]:
    try:
        yield charge.call()
        yield ship.call()
    except ActivityError:
        yield refund_carelessly.call()


def refunded_at_most_once(env: WorkflowEnv) -> None:
    assert WORLD["refunded"] <= 1, dict(WORLD)


# -- a sibling that still charges -------------------------------------------------------


@workflow
def gives_up_on_both() -> Workflow[str]:
    """A deadline does not wait for what runs: the charge may come after the refund."""
    try:
        with timeout(60):
            yield gather(charge.call(), ship.call())
    except (TimeoutExpired, ActivityError):
        yield refund.call()
        return "refunded"
    return "done"


@workflow
def waits_for_both() -> Workflow[str]:
    results = yield gather(charge.call(), ship.call(), return_exceptions=True)
    if any(isinstance(result, ActivityError) for result in results):
        yield refund.call()
        return "refunded"
    return "done"


def nothing_is_kept(env: WorkflowEnv) -> None:
    env.advance(days=3)
    if env.result() == "refunded":
        assert WORLD["charged"] == WORLD["refunded"], dict(WORLD)


PLANTED = {
    "a lost compensation": Planted(forgets_to_refund, refunds, paid_for_goods, "for good"),
    "a double charge": Planted(charges_twice, charges_once, charged_at_most_once, "charged': 2"),
    "a side effect that has one": Planted(
        reserves_in_a_side_effect, reserves_in_an_activity, reserved_once,
        "the worker dies before a commit",
    ),
    "a race of signals": Planted(
        takes_the_last_word, rejection_counts, is_rejected, "comes first", both_at_once
    ),
    "a forgotten clean-up": Planted(
        stays_locked, unlocks, is_unlocked, "is_unlocked is not kept", cancelled_some_time
    ),
    "stuck behind a time limit": Planted(
        waits_without_end, gives_up, always, "waits for signal operator"
    ),
    "a late child": Planted(
        orders_elsewhere, orders_and_waits, not_both, "shipped and refunded",
        options={"workflows": [supplier]},
    ),
    "the state of a module": Planted(
        counts_in_its_module, counts_by_itself, always, "NonDeterminismError"
    ),
    "a signal lost between runs": Planted(
        forgets_what_comes_late, counts_at_the_end, two_were_seen, "the worker comes first",
        two_signals,
    ),
    "a compensation that runs twice": Planted(
        refunds_twice, refunds, refunded_at_most_once, "refunded': 2"
    ),
    "a sibling that still charges": Planted(
        gives_up_on_both, waits_for_both, nothing_is_kept, "charge of"
    ),
}  # fmt: skip
