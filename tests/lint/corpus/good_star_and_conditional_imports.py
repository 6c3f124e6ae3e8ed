from __future__ import annotations

import sys

try:
    import orjson as json
except ImportError:
    import json

if sys.version_info >= (3, 12):
    from typing import override
else:
    def override(f):
        return f

from durable import *

try:
    from uuid import uuid7
except ImportError:
    uuid7 = None


@activity
def store(text: str) -> str:
    return str(uuid7() if uuid7 else text)


@workflow
def flow(numbers: set[int]) -> Workflow[str]:
    total = sum(n for n in numbers)
    ordered = sorted(numbers, reverse=True)
    has = 5 in numbers and not numbers.isdisjoint({1, 2})
    largest = max(numbers, default=0)
    doubled = {n * 2 for n in numbers}
    common = len(doubled & numbers)
    text = json.dumps([total, ordered, has, largest, common, len(doubled)])
    yield gather(*[store.call(str(n)) for n in ordered])
    yield sleep(1)
    for key, value in {"a": 1, "b": 2}.items():
        yield store.call(f"{key}{value}")
    for n in sorted(doubled | numbers):
        yield store.call(str(n))
    if wait := [n for n in ordered if n > 5]:
        yield sleep(wait[0])
    keys = {"x": 1}.keys()
    for key in keys:
        yield store.call(key)
    return text
