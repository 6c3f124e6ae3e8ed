import hashlib
import json
import os.path
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from durable import Workflow, activity, workflow


@activity
def load(path: str) -> str:
    return Path(path).read_text()


@workflow
def flow(url: str) -> Workflow[str]:
    parts = urlsplit(url)
    name = os.path.join("data", PurePosixPath(parts.path).name)
    folder = Path("data") / name
    text = yield from load.call(str(folder.with_suffix(".txt")))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"digest": digest, "found": re.findall("a", text), "name": folder.name})
