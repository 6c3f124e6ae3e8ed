"""When an activity is tried again, and when not.

durable run examples/retries.py:retries
python examples/retries.py
"""

import sys
import time

from durable import (
    ActivityError,
    Orchestrator,
    PermanentError,
    Retry,
    Workflow,
    activity,
    current_activity,
    workflow,
)


@activity(retry=Retry(max_attempts=5, first_delay=0.01))
def flaky() -> str:
    """Fails twice, then works."""
    attempt = current_activity().attempt
    if attempt < 3:
        raise ConnectionError("no answer")
    return f"worked at attempt {attempt}"


@activity(retry=Retry(max_attempts=5, first_delay=0.01))
def refused() -> str:
    """Says itself that trying again is of no use."""
    raise PermanentError("the card is stolen")


@activity(retry=Retry(max_attempts=5, first_delay=0.01, non_retryable=[ValueError]))
def misused() -> str:
    """Raises what its policy does not try again; subclasses count."""
    raise UnicodeError("not a name")


@activity(retry=Retry(max_attempts=2, first_delay=0.01), timeout=0.05)
def slow() -> str:
    """Takes longer than one attempt may."""
    time.sleep(0.2)
    return "never seen"


@workflow
def retries() -> Workflow[list[str]]:
    lines = []
    for act in (flaky, refused, misused, slow):
        try:
            lines.append((yield from act.call()))
        except ActivityError as error:
            lines.append(f"{error.error.type} at attempt {error.attempt}: {error.error.message}")
    return lines


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        print(*here.client.start(retries).result(timeout=60), sep="\n")


if __name__ == "__main__":
    main()
