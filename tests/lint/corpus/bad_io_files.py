import json
import os
import os.path
import shutil
from pathlib import Path

from durable import Workflow, sleep, workflow


@workflow
def flow(name: str) -> Workflow[int]:
    with open(name) as file:  # expect: DUR104 open() is done again in every replay
        count = len(json.load(file))
    if os.path.exists(name):  # expect: DUR104 do it in an activity
        os.remove(name)  # expect: DUR104 os.remove()
    shutil.rmtree("build")  # expect: DUR104 shutil.rmtree()
    text = Path(name).read_text()  # expect: DUR104 pathlib.Path().read_text()
    folder = Path("data") / name
    folder.mkdir()  # expect: DUR104 pathlib.Path().mkdir()
    yield sleep(count)
    return len(text)
