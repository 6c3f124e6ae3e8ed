"""Orders of a shop, with a model layer, constants and settings of its own."""

import functools
import logging
import os
from contextlib import ExitStack, nullcontext
from decimal import Decimal
from enum import IntEnum, auto
from typing import Optional, Union

from shop import settings
from shop.activities import capture, email, inventory
from shop.models import Order

from durable import ActivityError, Workflow, logger, set_var, shield, sleep, span, workflow

logger_ = logging.getLogger("shop")
MAX = int(os.getenv("MAX_ORDERS", "10"))
RATES = {"de": Decimal("0.19"), "fr": Decimal("0.20")}


class Stage(IntEnum):
    NEW = auto()
    PAID = auto()
    SENT = auto()


@functools.lru_cache(maxsize=None)
def tax(country: str, cents: int) -> int:
    return int(cents * RATES.get(country, Decimal(0)))


def describe(order: Order, stage: Stage = Stage.NEW) -> str:
    return f"{order.id}: {stage.name.lower()}"


@workflow(name="shop.order", queue=settings.QUEUE)
def process(order: Order, note: Optional[str] = None, extra: Union[int, None] = None) -> Workflow[str]:
    stage = Stage.NEW
    cents = order.cents + tax(order.country, order.cents) + (extra or 0)
    with span("order", id=order.id), ExitStack() as stack:
        stack.enter_context(nullcontext())
        set_var("stage", describe(order, stage))
        reserved = yield from inventory.reserve.call(order.id, sorted(set(order.skus)))
        try:
            receipt = yield from capture.options(timeout=30).call(order.id, cents)
            stage = Stage.PAID
        except ActivityError as error:
            logger().warning("no capture of %s: %s", order.id, error)
            yield inventory.release.call(reserved)
            return "failed"
        except BaseException:
            with shield():
                yield inventory.release.call(reserved)
            raise
        if not settings.QUIET and note is not None:
            yield email.call(order.email, note.format(receipt=receipt))
        yield sleep(settings.PAUSE)
    del reserved
    return describe(order, stage)
