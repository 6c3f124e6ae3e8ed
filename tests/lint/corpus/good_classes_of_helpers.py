from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import itertools
import json
import math
import operator
import re
from collections import Counter, defaultdict, deque
from decimal import ROUND_HALF_UP, Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from durable import Workflow, activity, gather, info, logger, random, uuid4, workflow


class Status(enum.Enum):
    OPEN = "open"
    DONE = "done"


@dataclasses.dataclass
class Line:
    sku: str
    cents: int


class Payments:
    def __init__(self, url: str) -> None:
        self.session = __import__("requests").Session()
        self.url = url

    @activity(name="payments.charge")
    def charge(self, key: str, cents: int) -> str:
        return self.session.post(f"{self.url}/charge", json={"key": key, "cents": cents}).text

    @activity
    def refund(self, receipt: str) -> None:
        self.session.delete(f"{self.url}/{receipt}")


class Basket:
    """Plain state of one workflow."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = deque(lines)
        self.counts: Counter[str] = Counter()
        self.by_sku: dict[str, list[int]] = defaultdict(list)
        self.status = Status.OPEN

    @functools.cached_property
    def total(self) -> Decimal:
        cents = sum(line.cents for line in self.lines)
        return (Decimal(cents) / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)

    def take(self) -> Line | None:
        if not self.lines:
            self.status = Status.DONE
            return None
        line = self.lines.popleft()
        self.counts.update([line.sku])
        self.by_sku[line.sku].append(line.cents)
        return line

    def pay(self) -> Workflow[list[str]]:
        receipts = []
        while line := self.take():
            key = hashlib.sha256(f"{info().instance_id}-{line.sku}".encode()).hexdigest()
            receipts.append((yield from Payments.charge.call(key, line.cents)))
        return receipts


@workflow
def checkout(lines: list[Line]) -> Workflow[dict[str, object]]:
    basket = Basket(lines)
    receipts = yield from basket.pay()
    logger().info("paid %s", basket.total)
    tag = uuid5(NAMESPACE_URL, str(uuid4()))
    rng = random()
    winner = rng.choice(receipts) if receipts else ""
    rng.shuffle(receipts)
    grouped = {
        key: list(group) for key, group in itertools.groupby(sorted(basket.by_sku), key=len)
    }
    unique = sorted({line.sku for line in lines} | set(basket.counts))
    pattern = re.compile(r"\d+")
    numbers = [int(found[0]) for sku in unique if (found := pattern.search(sku))]
    text = json.dumps({"sum": math.fsum(numbers), "most": max(numbers, default=0)}, sort_keys=True)
    largest = functools.reduce(operator.or_, numbers, 0)
    yield gather(*(Payments.refund.call(receipt) for receipt in receipts[1:]))
    return {"tag": tag, "winner": winner, "text": text, "groups": grouped, "largest": largest,
            "id": UUID(int=largest), "status": basket.status.value}
