import socket
import subprocess

import requests

from durable import ActivityError, Workflow, activity, workflow


@activity
def fetch(url: str) -> str:
    return str(requests.get(url, timeout=5).text)


@workflow
def flow(url: str) -> Workflow[str]:
    try:
        return (yield from fetch.call(url))
    except ActivityError as error:
        if error.error.is_a(requests.ConnectionError) or error.error.is_a(socket.timeout):
            raise subprocess.CalledProcessError(1, "fetch") from error
        raise TimeoutError("late") from error
