"""A signal or a deadline, whichever comes first.

durable run examples/approval.py:approval '"holiday"' 60 --id holiday
durable signal holiday decide '{"by": "bob", "yes": true}'      # in a second terminal
python examples/approval.py
"""

import sys
from dataclasses import dataclass

from durable import Orchestrator, Workflow, race, sleep, wait_signal, workflow


@dataclass(frozen=True)
class Decision:
    by: str
    yes: bool


@workflow
def approval(what: str, seconds: float) -> Workflow[str]:
    answer = yield from race(wait_signal("decide", Decision), sleep(seconds))
    decision = answer.value
    if decision is None:
        return f"{what}: nobody answered"
    return f"{what}: {'yes' if decision.yes else 'no'}, says {decision.by}"


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        asked = here.client.start(approval, "holiday", 3600)
        asked.signal("decide", Decision(by="bob", yes=True))
        print(asked.result(timeout=60))
        print(here.client.start(approval, "pay rise", 0.1).result(timeout=60))


if __name__ == "__main__":
    main()
