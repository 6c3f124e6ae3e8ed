"""Fan out and in: forty activities side by side, and the sum of their results.

durable run examples/fan_out.py:total 40
python examples/fan_out.py
"""

import sys

from durable import Orchestrator, Workflow, activity, gather, workflow

MODULUS = 10**9 + 7


@activity
def scaled(number: int) -> int:
    return (number % MODULUS) * 53 % MODULUS


@workflow
def total(count: int) -> Workflow[int]:
    results = yield from gather(*[scaled.call(i) for i in range(count)])
    return sum(results)


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        print(here.client.start(total, 40).result(timeout=60))


if __name__ == "__main__":
    main()
