import os
import sys
from os import environ, putenv

from durable import Workflow, activity, workflow


@activity
def charge(mode: str) -> str:
    return mode


@workflow
def flow(mode: str) -> Workflow[str]:
    os.environ["MODE"] = mode  # expect: DUR109 os.environ lives outside
    environ["MODE"] += "!"  # expect: DUR109 os.environ lives outside
    os.environ.update(MODE=mode)  # expect: DUR109 os.environ lives outside
    environ.setdefault("MODE", mode)  # expect: DUR109 os.environ lives outside
    old = os.environ.pop("MODE", "")  # expect: DUR109 os.environ lives outside
    del os.environ["MODE"]  # expect: DUR109 os.environ lives outside
    putenv("MODE", mode)  # expect: DUR109 os.putenv() changes the process
    os.chdir("/srv")  # expect: DUR109 os.chdir() changes the process
    sys.path.append("/srv")  # expect: DUR109 sys.path lives outside
    sys.path[0] = "/srv"  # expect: DUR109 sys.path lives outside
    return (yield from charge.call(old))
