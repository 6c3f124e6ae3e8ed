"""Somebody outside decides: a promise, with a deadline and a reminder, completed by its token.

    durable run examples/human_approval.py:ask '"a new desk"' '"mails.txt"' 60 600 --id desk
    cat mails.txt                           # in a second terminal: the token
    durable complete TOKEN '"yes"'          # or: durable fail TOKEN 'who are you?'

    python examples/human_approval.py

Whoever has the token can answer: no account, no id of the instance, no code of the workflow.
The first answer counts; one that comes before anybody waits for it is kept.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from durable import (
    Orchestrator,
    PromiseError,
    TimeoutExpired,
    Workflow,
    activity,
    external,
    race,
    sleep,
    workflow,
)


@activity
def mail(mails: str, text: str, token: str) -> None:
    """A real program would send a link with the token in it."""
    with open(mails, "a", encoding="utf-8") as file:
        file.write(f"{text} {token}\n")


@workflow
def ask(what: str, mails: str, patience: float, limit: float) -> Workflow[str]:
    decision = external("decision", timeout=limit, type=str)
    yield mail.call(mails, f"May I have {what}?", decision.token)
    try:
        first = yield race(decided=decision, remind=sleep(patience))
        if first.name == "remind":
            yield mail.call(mails, f"Please decide: {what}?", decision.token)
        answer = yield from decision
    except PromiseError as error:
        if error.is_a(TimeoutExpired):
            return f"{what}: nobody decided"
        return f"{what}: {error}"
    return f"{what}: {answer}"


def main(mails: Path) -> None:
    mails.touch()

    def token(text: str) -> str:
        """Wait for a mail that begins like this; gives the token in it."""
        while True:
            for line in mails.read_text("utf-8").splitlines():
                if line.startswith(text):
                    return line.split()[-1]
            time.sleep(0.01)

    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        client = here.client
        desk = client.start(ask, "a desk", str(mails), 3600, 7200)
        client.complete(token("May I have a desk?"), "yes")
        lamp = client.start(ask, "a lamp", str(mails), 0.05, 7200)
        client.complete(token("Please decide: a lamp?"), "yes, at last")
        boat = client.start(ask, "a boat", str(mails), 3600, 7200)
        client.fail(token("May I have a boat?"), "who are you?")
        plane = client.start(ask, "a plane", str(mails), 0.05, 0.1)
        for handle in (desk, lamp, boat, plane):
            print(handle.result(timeout=60))


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        main(Path(directory, "mails.txt"))
