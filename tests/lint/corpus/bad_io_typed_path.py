from pathlib import Path

from durable import Workflow, sleep, workflow


@workflow
def flow(path: Path) -> Workflow[bytes]:
    yield sleep(1)
    return path.read_bytes()  # expect: DUR104 pathlib.Path().read_bytes()
