import random as rnd
import time
from datetime import datetime, timedelta
from http import HTTPStatus
from io import StringIO
from pathlib import Path
from uuid import UUID

import asyncio
import requests
import socket
import subprocess

from durable import ActivityError, Workflow, activity, now, random, sleep, workflow


@activity
def call(url: str, retries: int) -> int:
    time.sleep(rnd.random())
    return requests.get(url, timeout=5).status_code


@workflow
def flow(id: str, input: str, path: Path, time: float, open: bool = False) -> Workflow[dict[str, object]]:
    hash = {"id": id, "input": input}
    if open:
        yield sleep(time)
    out = StringIO()
    out.write(f"{path.name} {path.with_suffix('.txt')} {path.parent / 'x'}")
    at = datetime.fromtimestamp(time) + timedelta(days=1)
    parsed = datetime.strptime("2026", "%Y")
    key = UUID(id) if len(id) == 36 else UUID(int=0)
    number = random().randint(0, 9)
    try:
        status = yield call.call(input, number)
    except (ActivityError, requests.HTTPError, subprocess.CalledProcessError, asyncio.TimeoutError) as error:
        if isinstance(error, (socket.timeout, OSError)):
            raise
        status = HTTPStatus.BAD_GATEWAY
    is_ok = status in (HTTPStatus.OK, HTTPStatus.CREATED)
    begun = now().time()
    list = [str(begun), out.getvalue()]
    return {"hash": hash, "at": at, "parsed": parsed, "key": key, "ok": is_ok, "list": list}
