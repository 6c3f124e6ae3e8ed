"""A download that goes on where the attempt before it failed, and comes back when it is told to.

    python examples/heartbeat_download.py    # from a server of its own, with faults
    durable run examples/heartbeat_download.py:fetch '"http://localhost:8000/big"' '"big"' --id d

Each heartbeat says how far it is; the next attempt finds what the last one said.  So it is
after a crash of the worker, too: kill -9 the second way, and run it again.  A worker that hangs
is found out: no heartbeat for ten seconds, and the attempt has failed.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from durable import (
    Orchestrator,
    Retry,
    RetryLater,
    Workflow,
    activity,
    current_activity,
    workflow,
)

CHUNK = 1024


@activity(retry=Retry(max_attempts=5, first_delay=0.05), heartbeat_timeout=10)
def download(url: str, path: str) -> int:
    here = current_activity()
    done: int = here.last_heartbeat or 0
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={done}-"}), timeout=5)
    except HTTPError as error:
        with error:
            if error.code == 416:  # there is nothing from there on
                return done
            if error.code == 503 and "Retry-After" in error.headers:
                raise RetryLater(delay=float(error.headers["Retry-After"])) from None
            raise
    with answer, open(path, "r+b" if done else "wb") as file:
        if answer.status != 206:  # a server that does not know ranges sends all of it
            done = 0
        file.seek(done)
        end = done + int(answer.headers["Content-Length"])
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            file.flush()
            done += len(chunk)
            here.heartbeat(done)
    if done < end:
        raise ConnectionError(f"it broke off at {done} of {end}")
    return done


@workflow
def fetch(url: str, path: str) -> Workflow[int]:
    return (yield from download.call(url, path))


# -- a server with faults ----------------------------------------------------------------

CONTENT = bytes(range(256)) * 40


class Faulty(BaseHTTPRequestHandler):
    """Is busy at first; then it breaks off after four chunks, and again."""

    requests = 0

    def do_GET(self) -> None:
        Faulty.requests += 1
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if Faulty.requests == 1:
            self.send_response(503)
            self.send_header("Retry-After", "0.05")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + 4 * CHUNK])

    def log_message(self, format: str, *args: object) -> None:
        print(f"server: {self.headers['Range']} {args[1]}")


def main(path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/big"
        with Orchestrator("memory://", [sys.modules[__name__]]) as here:
            print(here.client.start(fetch, url, str(path)).result(timeout=60), "bytes")
        server.shutdown()
    print("the file is", "whole" if path.read_bytes() == CONTENT else "broken")


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        main(Path(directory, "big"))
