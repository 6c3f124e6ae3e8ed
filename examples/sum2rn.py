"""Two activities side by side, and their sum: random numbers that can be checked.

    durable run examples/sum2rn.py:sum2rn 100
    python examples/sum2rn.py

Each activity does some rounds of xorshift on signed 64-bit numbers that wrap around.
"""

import sys

from durable import Orchestrator, Workflow, activity, gather, workflow


def wrapped(number: int) -> int:
    """The number as a signed 64-bit one."""
    return (number + 2**63) % 2**64 - 2**63


@activity
def xorshift(seed: int, rounds: int) -> int:
    number = seed
    for _ in range(rounds):
        for shift in (13, 17, 5):
            number = wrapped(number ^ number << shift)
    return number


@workflow
def sum2rn(seed: int) -> Workflow[int]:
    first, second = yield from gather(xorshift.call(seed, 19), xorshift.call(seed, 23))
    return wrapped(first + second)


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        result = here.client.start(sum2rn, 100).result(timeout=60)
    assert result == 628543225910992100 + 5567767222281510116
    print(result)


if __name__ == "__main__":
    main()
