import os
import sys
from os import environ

from durable import Workflow, activity, side_effect, workflow

REGION = os.environ["REGION"]
LIMIT = int(environ.get("LIMIT", "5"))
PROGRAM = sys.argv[0]
os.environ.setdefault("MODE", "test")


@activity
def charge(region: str) -> str:
    os.environ["REGION"] = region
    return os.environ["MODE"]


@workflow
def flow() -> Workflow[str]:
    mode = yield from side_effect(os.environ.get, "MODE")
    region = yield from side_effect(lambda: os.environ["REGION"])
    environ = {"REGION": region}
    environ["MODE"] = mode
    environ.update(PROGRAM=PROGRAM)
    yield charge.call(REGION.lower() if LIMIT > 3 else PROGRAM)
    return (yield from charge.call(environ["REGION"]))
