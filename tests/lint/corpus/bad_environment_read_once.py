import os
import sys
from collections.abc import Mapping

from durable import Workflow, activity, workflow


@activity
def charge(mode: str) -> str:
    return mode


@workflow
def flow() -> Workflow[str]:
    mode = os.environ["MODE"]  # expect: DUR108 os.environ differs from worker to worker
    words = sys.argv[1:]  # expect: DUR108 sys.argv differs
    yield charge.call(mode.lower())
    yield charge.call(words[0])
    for letter in mode:
        yield charge.call(letter)
    given: Mapping[str, str] = dict(os.environ)  # expect: DUR108 os.environ differs
    yield charge.call(given["MODE"])
    variables = os.environ  # expect: DUR108 os.environ differs
    return mode if variables["MODE"] == mode else words[0]  # expect: DUR108 os.environ differs
