"""The examples, where other processes have a part: those that signal, cancel and complete, and
workers that are killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from examples_kit import EXAMPLES, LIMIT, durable, example, read_until, run, running, until

from durable import Client

RUN = ("-m", "durable", "run")
WORKER = ("-m", "durable", "worker")


@contextmanager
def client_of(place: Path) -> Iterator[Client]:
    """A client of the store that programs in this directory use."""
    client = Client(f"sqlite:///{place}/durable.db")
    try:
        yield client
    finally:
        client.close()


def tree(id: str, cwd: Path) -> dict[str, str]:
    """The statuses of an instance and its descendants, by their ids."""
    rows = json.loads(durable("tree", id, "-o", "json", cwd=cwd))
    return {row["id"]: row["status"] for row in rows}


# -- signals, and a kill -----------------------------------------------------------------


def test_a_signal_from_another_process(tmp_path: Path) -> None:
    command = [*RUN, example("approval:approval"), '"holiday"', "3600", "--id", "holiday"]
    with running(*command, cwd=tmp_path) as waiting:
        read_until(waiting.stderr, "timer until")
        value = '{"by": "bob", "yes": false}'
        durable("signal", "holiday", "decide", value, cwd=tmp_path)
        out, _ = waiting.communicate(timeout=LIMIT)
    assert json.loads(out) == "holiday: no, says bob"


def test_killed_it_goes_on(tmp_path: Path) -> None:
    command = [*RUN, example("resume:count"), "6", "0.2", "--id", "c"]
    with running(*command, cwd=tmp_path) as killed:
        read_until(killed.stdout, "3")
        killed.kill()
    # The third number may not have been recorded any more: then it is said again.
    again = run(*command, cwd=tmp_path).splitlines()
    assert again in (["4", "5", "6", '"counted to 6"'], ["3", "4", "5", "6", '"counted to 6"'])
    assert run(*command, cwd=tmp_path) == '"counted to 6"\n'


def test_signals_are_kept_over_runs(tmp_path: Path) -> None:
    (tmp_path / "feed.txt").write_text("one\ntwo\n\nthree\n\n\nfour\n", "utf-8")
    command = [*RUN, example("polling_continue_as_new:follow"), '"feed.txt"', "--id", "feed"]
    durable("start", "follow", '"feed.txt"', "--id", "feed", cwd=tmp_path)
    durable("signal", "feed", "reader", '"ann"', cwd=tmp_path)
    with running(*command, cwd=tmp_path) as interrupted:
        read_until(interrupted.stderr, "four")
        interrupted.send_signal(signal.SIGINT)
        interrupted.communicate(timeout=LIMIT)
        assert interrupted.returncode == 1
    with (tmp_path / "feed.txt").open("a", encoding="utf-8") as file:
        file.write("five\nend\n")
    told = json.loads(run(*command, cwd=tmp_path))
    assert told.startswith("run ")
    assert told.endswith(" tells ann of 5 lines")


# -- children ----------------------------------------------------------------------------


def test_a_tree_of_workflows(tmp_path: Path) -> None:
    durable("run", example("parent_child:trip"), '["Atlantis"]', "--id", "t", cwd=tmp_path)
    assert tree("t", tmp_path) == {
        "t": "completed",
        "t/1.1": "failed",
        "t/1.1/1.1": "failed",
        "t/insurance": "completed",
    }


def test_children_whose_parent_has_ended(tmp_path: Path) -> None:
    worker = (*WORKER, example("parent_child"))
    durable("start", "camp", "--id", "c", cwd=tmp_path)
    with running(*worker, cwd=tmp_path), client_of(tmp_path) as client:
        assert client.get("c").result(timeout=LIMIT) == "we are home"
        for ended in ("c/cancel", "c/terminate"):
            until(lambda id=ended: client.get(id).status().finished)  # type: ignore[misc]
    assert tree("c", tmp_path) == {
        "c": "completed",
        "c/cancel": "cancelled",
        "c/terminate": "terminated",
        "c/abandon": "running",
    }


def test_a_cancel_from_another_process(tmp_path: Path) -> None:
    command = [*RUN, example("cancel_cleanup:nightly"), "--id", "n"]
    with running(*command, cwd=tmp_path) as parent:
        read_until(parent.stderr, "child nightly/build started")
        durable("cancel", "n", cwd=tmp_path)
        out, _ = parent.communicate(timeout=LIMIT)
    assert json.loads(out) == "completed without a build"
    assert tree("n", tmp_path) == {"n": "completed", "nightly/build": "cancelled"}
    assert json.loads(durable("vars", "nightly/build", "-o", "json", cwd=tmp_path)) == {
        "steps": ["cancelled", "removed"]
    }


# -- promises ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (("complete", '"yes"'), "a desk: yes"),
        (("fail", "who are you?"), "a desk: promise decision failed: Exception: who are you?"),
    ],
)
def test_a_promise_is_completed_by_its_token(
    answer: tuple[str, str], result: str, tmp_path: Path
) -> None:
    mails = tmp_path / "mails.txt"
    command = [*RUN, example("human_approval:ask"), '"a desk"', '"mails.txt"', "0.05", "3600"]
    with running(*command, "--id", "desk", cwd=tmp_path) as asking:
        until(lambda: mails.exists() and mails.read_text("utf-8").count("\n") == 2)
        first, reminder = mails.read_text("utf-8").splitlines()
        assert first.startswith("May I have a desk? ")
        assert reminder.startswith("Please decide: a desk? ")
        verb, word = answer
        durable(verb, first.split()[-1], word, cwd=tmp_path)
        out, _ = asking.communicate(timeout=LIMIT)
    assert json.loads(out) == result


# -- versions ----------------------------------------------------------------------------

YESTERDAY = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
import versioned
from durable import Worker
flows = versioned.yesterday()
Worker("sqlite:///durable.db", workflows=flows, activities=[versioned.done], burst=True).run()
"""


def test_old_instances_end_on_the_old_code(tmp_path: Path) -> None:
    for flow in ("order", "parcel"):
        durable("start", flow, "--id", f"old {flow}", cwd=tmp_path)
    run("-c", YESTERDAY, cwd=tmp_path)
    for flow in ("order", "parcel"):
        durable("start", flow, "--id", f"new {flow}", cwd=tmp_path)
        durable("signal", f"old {flow}", "go", cwd=tmp_path)
        durable("signal", f"new {flow}", "go", cwd=tmp_path)
    run(*WORKER, example("versioned"), "--burst", cwd=tmp_path)
    with client_of(tmp_path) as client:
        found = {row.id: (row.version, client.get(row.id).result()) for row in client.list().rows}
    assert found == {
        "old order": (1, "by the old rules"),
        "new order": (2, "by the new rules"),
        "old parcel": (1, "weighed"),
        "new parcel": (1, "weighed and scanned"),
    }


# -- a download --------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 40


class Stalled(BaseHTTPRequestHandler):
    """Sends half, and the rest when it is told to."""

    go = threading.Event()
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"])
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        if not self.go.is_set():
            self.wfile.write(CONTENT[start:5120])
            self.go.wait(LIMIT)
        else:
            self.wfile.write(CONTENT[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


def test_a_download_goes_on_after_a_kill(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalled) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = json.dumps(f"http://127.0.0.1:{server.server_port}/big")
        command = [*RUN, example("heartbeat_download:fetch"), url, '"big"', "--id", "d"]
        try:
            with running(*command, cwd=tmp_path) as killed, client_of(tmp_path) as client:
                read_until(killed.stderr, "download(")
                handle = client.get("d")
                until(lambda: handle.describe()["tasks"][0]["details"] == 5120)
            Stalled.go.set()
            assert json.loads(run(*command, cwd=tmp_path)) == len(CONTENT)
        finally:
            Stalled.go.set()
            server.shutdown()
    assert (tmp_path / "big").read_bytes() == CONTENT
    assert Stalled.asked == ["bytes=0-", "bytes=5120-"]


# -- a saga ------------------------------------------------------------------------------

WHOLE = {"ann": 100, "ben": 100, "cy": 100}
BOOKINGS = {"ann": -30, "ben": 10, "cy": 20}
SHARED_OUT = {"ann": 70, "ben": 110, "cy": 120}

DEADLY = f"""
import os, signal, sys
from contextlib import contextmanager
sys.path.insert(0, {str(EXAMPLES)!r})
import saga
from durable import Worker
bank = saga.bank

@contextmanager
def deadly(path):
    with bank(path) as db:
        yield db
    os.kill(os.getpid(), signal.SIGKILL)

saga.bank = deadly
Worker("sqlite:///durable.db", [saga]).run()
"""
"""A worker that dies when it has booked, and before that is recorded."""


def booked(place: Path) -> list[tuple[str, int]]:
    """The bookings of transfers, in their order."""
    with closing(sqlite3.connect(place / "bank.db", timeout=30)) as db:
        query = "SELECT account, cents FROM bookings WHERE transfer <> '' ORDER BY rowid"
        return db.execute(query).fetchall()


def balances(place: Path) -> dict[str, int]:
    found = dict(WHOLE)
    for account, cents in booked(place):
        found[account] += cents
    return found


def transfer(bookings: dict[str, int], pause: float) -> list[str]:
    command = [*RUN, example("saga:transfer"), '"bank.db"', json.dumps(bookings), str(pause)]
    return [*command, "--id", "t"]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_transfer_that_fails_is_taken_back(step: int, tmp_path: Path) -> None:
    accounts = list(BOOKINGS.items())
    done, (_, cents) = accounts[:step], accounts[step]
    accounts[step] = ("dan", cents)
    said = json.loads(run(*transfer(dict(accounts), 0), cwd=tmp_path))
    assert said == "refused: there is no account dan"
    assert booked(tmp_path) == done + [(account, -cents) for account, cents in reversed(done)]
    assert balances(tmp_path) == WHOLE


def test_nobody_pays_what_he_has_not(tmp_path: Path) -> None:
    said = json.loads(run(*transfer({"ben": 10, "ann": -101}, 0), cwd=tmp_path))
    assert said == "refused: ann has only 100"
    assert balances(tmp_path) == WHOLE


def test_a_transfer_that_is_cancelled_is_taken_back(tmp_path: Path) -> None:
    with running(*transfer(BOOKINGS, 3600), cwd=tmp_path) as slow:
        read_until(slow.stderr, "timer until")
        assert balances(tmp_path) == {"ann": 70, "ben": 100, "cy": 100}
        durable("cancel", "t", cwd=tmp_path)
        _, err = slow.communicate(timeout=LIMIT)
        assert slow.returncode == 1
    assert err.endswith("error: instance 't' was cancelled\n")
    assert balances(tmp_path) == WHOLE


def test_a_worker_is_killed_between_the_steps(tmp_path: Path) -> None:
    worker = (*WORKER, example("saga"))
    words = ["transfer", '"bank.db"', json.dumps(BOOKINGS), "0.1", "--id", "t"]
    durable("start", *words, cwd=tmp_path)
    with client_of(tmp_path) as client:
        handle = client.get("t")
        with running(*worker, cwd=tmp_path) as killed:
            until(lambda: handle.vars().get("booked") == 1)
            killed.kill()
        with running(*worker, cwd=tmp_path) as goes_on:
            assert handle.result(timeout=LIMIT) == "done"
            goes_on.terminate()
            assert goes_on.wait(LIMIT) == 0
    assert booked(tmp_path) == list(BOOKINGS.items())


def test_what_was_booked_when_the_worker_died_is_booked_once(tmp_path: Path) -> None:
    durable("start", "transfer", '"bank.db"', json.dumps(BOOKINGS), "--id", "t", cwd=tmp_path)
    for step in range(1, 4):
        with running("-c", DEADLY, cwd=tmp_path) as deadly:
            deadly.communicate(timeout=LIMIT)
            assert deadly.returncode == -signal.SIGKILL
        assert booked(tmp_path) == list(BOOKINGS.items())[:1], step
    assert json.loads(run(*transfer(BOOKINGS, 0), cwd=tmp_path)) == "done"
    assert balances(tmp_path) == SHARED_OUT


def test_what_was_booked_when_the_worker_died_is_taken_back(tmp_path: Path) -> None:
    """The cancel finds an activity that has booked, without anybody knowing."""
    durable("start", "transfer", '"bank.db"', json.dumps(BOOKINGS), "--id", "t", cwd=tmp_path)
    with running("-c", DEADLY, cwd=tmp_path) as deadly:
        deadly.communicate(timeout=LIMIT)
    assert booked(tmp_path) == [("ann", -30)]
    durable("cancel", "t", cwd=tmp_path)
    with running(*transfer(BOOKINGS, 0), cwd=tmp_path) as again:
        again.communicate(timeout=LIMIT)
    assert balances(tmp_path) == WHOLE
