"""Kill it and watch it go on, in one terminal.

    durable run examples/resume.py:count 10 1 --id count-1

Press Ctrl-C, or kill -9 it, and run the same command again: it goes on with the next
number.  Run it a last time: it has ended, so only the result is printed.

    python examples/resume.py               # without a crash, on a store in memory
"""

import sys

from durable import Orchestrator, Workflow, activity, sleep, workflow


@activity
def say(number: int) -> None:
    print(number, flush=True)


@workflow
def count(last: int, seconds: float) -> Workflow[str]:
    for number in range(1, last + 1):
        yield say.call(number)
        yield sleep(seconds)
    return f"counted to {last}"


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        print(here.client.start(count, 3, 0.05).result(timeout=60))


if __name__ == "__main__":
    main()
