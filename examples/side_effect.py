"""A value that is different each time is recorded once: every replay gets the same.

durable run examples/side_effect.py:password_reset '"ann"' 60 --id reset-ann
durable vars reset-ann                              # in a second terminal: the code
durable signal reset-ann code '"123456"'
python examples/side_effect.py
"""

import secrets
import sys
import time

from durable import (
    Orchestrator,
    Workflow,
    race,
    set_var,
    side_effect,
    sleep,
    wait_signal,
    workflow,
)


def six_digits() -> str:
    return f"{secrets.randbelow(10**6):06}"


@workflow
def password_reset(user: str, seconds: float) -> Workflow[str]:
    code = yield from side_effect(six_digits)
    set_var("code", code)  # a real program would send it, by an activity
    answer = yield from race(typed=wait_signal("code"), late=sleep(seconds))
    if answer.name == "late":
        return f"{user}: too late"
    return f"{user}: {'reset' if answer.value == code else 'wrong code'}"


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        right = here.client.start(password_reset, "ann", 60)
        wrong = here.client.start(password_reset, "ben", 60)
        while "code" not in right.vars():
            time.sleep(0.01)
        right.signal("code", right.vars()["code"])
        wrong.signal("code", "not a code")
        print(right.result(timeout=60))
        print(wrong.result(timeout=60))


if __name__ == "__main__":
    main()
