import os
import socket
import sys
from os import environ, getenv

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[str]:
    yield sleep(float(os.environ["PAUSE"]))  # expect: DUR108 os.environ differs from worker
    yield sleep(float(environ.get("PAUSE", "1")))  # expect: DUR108 use side_effect
    if "DEBUG" in environ:  # expect: DUR108 os.environ
        os.environ["DEBUG"] = "1"  # expect: DUR109 os.environ lives outside
    if len(sys.argv) > 1:  # expect: DUR108 sys.argv
        return getenv("HOME") + os.getcwd()  # expect: DUR108 os.getenv() # expect: DUR108 os.getcwd()
    return socket.gethostname()  # expect: DUR108 socket.gethostname()
