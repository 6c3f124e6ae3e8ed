import socket
import urllib.request
from urllib.request import urlopen

import requests

from durable import Workflow, sleep, workflow


@workflow
def flow(url: str) -> Workflow[str]:
    page = requests.get(url, timeout=5)  # expect: DUR104 requests.get()
    yield sleep(1)
    urlopen(url)  # expect: DUR104 urllib.request.urlopen()
    urllib.request.urlretrieve(url)  # expect: DUR104 urllib.request.urlretrieve()
    socket.create_connection(("localhost", 80))  # expect: DUR104 socket.create_connection()
    return page.text
