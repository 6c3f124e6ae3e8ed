import builtins
import contextlib
import sys
import traceback
import warnings

from durable import (
    ActivityError, Cancelled, ChildWorkflowError, PromiseError, SideEffectError, TimeoutExpired, Workflow,
    activity, external, logger, set_var, shield, side_effect, sleep, timeout, workflow,
)
from durable.errors import DurableError


class Declined(Exception):
    def __init__(self, reason: str, cents: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cents = cents

    def __str__(self) -> str:
        return f"{self.reason} ({self.cents})"


@activity
def charge(cents: int) -> str:
    try:
        return open("/etc/hostname").read()
    except BaseException:
        traceback.print_exc()
        return "none"


@activity
def undo(receipt: str) -> None: ...


def guarded(part: Workflow[str]) -> Workflow[str]:
    try:
        return (yield from part)
    except* ValueError as group:
        raise Declined(str(group.exceptions)) from None


@contextlib.contextmanager
def noted(name: str):
    set_var("in", name)
    try:
        yield
    except BaseException as error:
        set_var("failed", f"{name}: {type(error).__name__}")
        raise
    else:
        set_var("in", "")


def pay(cents: int) -> Workflow[str]:
    receipt = None
    try:
        receipt = yield from charge.call(cents)
        if not receipt:
            raise Declined("empty", cents)
        return receipt
    except (ActivityError, Declined) as error:
        raise Declined(str(error)) from error
    except BaseException:
        if receipt is not None:
            with shield():
                yield undo.call(receipt)
        raise


@workflow
def flow(cents: int) -> Workflow[str]:
    result = "none"
    with noted("charging"):
        result = yield from pay(cents)
    try:
        result = yield from guarded(pay(cents))
    except Declined as declined:
        logger().info("declined: %s", declined.reason)
    except Exception as error:
        if isinstance(error, DurableError):
            raise
        warnings.warn(str(error))
    with contextlib.suppress(ActivityError, ChildWorkflowError):
        yield undo.call(result)
    with contextlib.suppress(TimeoutExpired), timeout(5):
        yield sleep(60)
    promise = external(timeout=60)
    for _ in range(3):
        try:
            return (yield from promise)
        except PromiseError:
            continue
        except SideEffectError as error:
            raise builtins.ValueError("no") from error
    try:
        with shield():
            yield side_effect(sys.getrecursionlimit)
    except GeneratorExit:
        raise
    try:
        yield sleep(1)
    except (Cancelled, GeneratorExit) as error:
        error.add_note("while asleep")
        raise
    try:
        number = int(result)
    except BaseException:
        number = 0
    return f"{number}{result}"
