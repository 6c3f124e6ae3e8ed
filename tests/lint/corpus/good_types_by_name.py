import socket
import uuid
from datetime import datetime
from pathlib import Path

import requests

from durable import ActivityError, Workflow, activity, wait_signal, workflow


@activity
def fetch(key: uuid.UUID) -> bytes:
    return b""


@workflow
def flow(folder: Path) -> Workflow[str]:
    key = yield from wait_signal("key", uuid.UUID)
    at = yield from wait_signal("at", datetime)
    try:
        body = yield from fetch.call(key)
    except ActivityError as error:
        known = error.error.is_a(requests.Timeout) or isinstance(error, socket.error)
        return f"{known} {requests.codes.ok}"
    return f"{folder.parent / folder.stem} {folder.suffix} {at.year} {len(body)}"
