import os
import subprocess as sp

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    sp.run(["make"], check=True)  # expect: DUR104 subprocess.run()
    yield sleep(1)
    os.system("make")  # expect: DUR104 os.system()
    sp.call(["make"])  # expect: DUR104 subprocess.call()
