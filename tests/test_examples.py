"""The examples are programs: each is run, as a program and by the command line, and what it
prints is compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from examples_kit import EXAMPLES, durable, example, run
from servers import drop, fresh, redis_cluster

TIMEOUTS = [
    "an attempt: ActivityError: activity hang failed at attempt 1: "
    "durable.errors.TimeoutExpired: hang took longer than 0.05 s",
    "heartbeats: ActivityError: activity hang failed at attempt 1: "
    "durable.errors.TimeoutExpired: hang sent no heartbeat for 0.05 s",
    "all of it: ActivityError: activity hang failed: "
    "durable.errors.TimeoutExpired: hang had no result 0.05 s after it was scheduled",
    "retries: ActivityError: activity unlucky failed at attempt 1: ConnectionError: no answer",
    "a command: wait_signal('never') did not end within 0.05 s",
    "a block: a block did not end within 0.05 s",
    "a promise: PromiseError: promise answer failed: "
    "durable.errors.TimeoutExpired: promise answer was not kept in time",
    "a child: ChildWorkflowError: child workflow endless ('limits/1.1') failed: "
    "durable.errors.TimeoutExpired: endless did not end within 0.05 s",
]
TRIP = ["a room in Rome, and a guide", "Atlantis: no road leads there", "2 insured"]

PRINTED = {
    "approval": "holiday: yes, says bob\npay rise: nobody answered\n",
    "cancel_cleanup": (
        "nightly is completed without a build\n"
        "instance 'nightly/build' was cancelled: cancelled by its parent nightly: "
        "['cancelled', 'removed']\n"
        "instance 'abandon' was cancelled: power cut: ['cancelled', 'removed'], still compiling\n"
        "instance 'request' was cancelled: power cut: ['cancelled', 'removed']\n"
        "instance 'wait' was cancelled: power cut: ['compiled', 'cancelled', 'removed']\n"
    ),
    "fan_out": "41340\n",
    "heartbeat_download": (
        "server: bytes=0- 503\n"
        "server: bytes=0- 206\n"
        "server: bytes=4096- 206\n"
        "server: bytes=8192- 206\n"
        "10240 bytes\n"
        "the file is whole\n"
    ),
    "human_approval": (
        "a desk: yes\n"
        "a lamp: yes, at last\n"
        "a boat: promise decision failed: Exception: who are you?\n"
        "a plane: nobody decided\n"
    ),
    "orders": ("20 orders: 15 shipped, 5 wait for an approval\n15 lines written to report.txt\n"),
    "parent_child": "\n".join(
        [
            *TRIP,
            "trip: completed",
            "  trip/1.1: completed",
            "    trip/1.1/1.1: completed",
            "  trip/1.2: failed",
            "    trip/1.2/1.1: failed",
            "  trip/insurance: completed",
            "we are home",
            "instance 'camp/cancel' was cancelled: the parent camp has ended",
            "instance 'camp/terminate' was terminated: the parent camp has ended",
            "camp: completed",
            "  camp/cancel: cancelled",
            "  camp/terminate: terminated",
            "  camp/abandon: running\n",
        ]
    ),
    "polling_continue_as_new": (
        "run 3 tells ann of 4 lines\n"
        "run 1: 3 polls, then ContinuedAsNew\n"
        "run 2: 3 polls, then ContinuedAsNew\n"
        "run 3: 2 polls, then WorkflowCompleted\n"
    ),
    "resume": "1\n2\n3\ncounted to 3\n",
    "retries": (
        "worked at attempt 3\n"
        "durable.errors.PermanentError at attempt 1: the card is stolen\n"
        "UnicodeError at attempt 1: not a name\n"
        "durable.errors.TimeoutExpired at attempt 2: slow took longer than 0.05 s\n"
    ),
    "saga": (
        "done {'ann': 70, 'ben': 110, 'cy': 120}\n"
        "refused: there is no account dan {'ann': 70, 'ben': 110, 'cy': 120}\n"
        "in the middle {'ann': 40, 'ben': 110, 'cy': 120}\n"
        "instance 'slow' was cancelled: changed my mind {'ann': 70, 'ben': 110, 'cy': 120}\n"
    ),
    "side_effect": "ann: reset\nben: wrong code\n",
    "subscription": (
        "card-1 {'paid': 1000, 'overdue': 0} {'cycle': 6, 'paid': 1000, 'overdue': 0}\n"
        "card-2 {'paid': 714, 'overdue': 286} {'cycle': 6, 'paid': 714, 'overdue': 286}\n"
    ),
    "sum2rn": "6196310448192502216\n",
    "timeouts": "\n".join(
        [
            *TIMEOUTS,
            "a workflow: WorkflowError: instance 'short' failed: "
            "durable.errors.TimeoutExpired: endless did not end within 0.05 s",
            "a caller: ResultTimeout: instance 'long' is running; it did not end within 0.05 s\n",
        ]
    ),
    "versioned": (
        "order of yesterday: version 1, by the old rules\n"
        "parcel of yesterday: version 1, weighed\n"
        "order of today: version 2, by the new rules\n"
        "parcel of today: version 1, weighed and scanned\n"
    ),
}
"""What each program prints."""

RESULTS = [
    ("approval:approval", ['"holiday"', "0.1"], "holiday: nobody answered"),
    ("fan_out:total", ["40"], 41340),
    ("human_approval:ask", ['"a desk"', '"mails.txt"', "0.05", "0.1"], "a desk: nobody decided"),
    ("orders:write_report", ['"report.txt"', '{"o-1": "shipped-o-1"}'], 1),
    ("parent_child:trip", ['["Rome", "Atlantis"]'], TRIP),
    ("retries:retries", [], PRINTED["retries"].splitlines()),
    ("side_effect:password_reset", ['"ann"', "0.1"], "ann: too late"),
    ("subscription:subscription", ['"card-2"', "1000", "7", "0.05"], {"paid": 714, "overdue": 286}),
    ("sum2rn:sum2rn", ["100"], 6196310448192502216),
    ("timeouts:limits", [], TIMEOUTS),
]
"""What `durable run` gives: target, arguments, result."""


def test_each_example_has_its_test() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(PRINTED)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_programs(name: str, tmp_path: Path) -> None:
    assert run(str(EXAMPLES / f"{name}.py"), cwd=tmp_path) == PRINTED[name]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_programs_on_a_cluster(name: str, tmp_path: Path) -> None:
    """Another address is all that a program needs for another store: here, the strictest."""
    url = fresh(redis_cluster())
    text = (EXAMPLES / f"{name}.py").read_text("utf-8")
    assert "memory://" in text
    (tmp_path / f"{name}.py").write_text(text.replace("memory://", url), "utf-8")
    shutil.copy(EXAMPLES / "orders.csv", tmp_path)
    assert run(f"{name}.py", cwd=tmp_path) == PRINTED[name]
    drop(redis_cluster(), url)


@pytest.mark.parametrize(("target", "args", "result"), RESULTS, ids=[r[0] for r in RESULTS])
def test_by_the_command_line(target: str, args: list[str], result: object, tmp_path: Path) -> None:
    flow = target.split(":")[1]
    printed = durable("run", example(target), *args, "--id", flow, cwd=tmp_path)
    assert json.loads(printed) == result


def test_the_report_has_each_order_once(tmp_path: Path) -> None:
    """Also if the report is there already, and was cut short by a crash."""
    whole = "".join(f"o-{n} shipped-o-{n}\n" for n in (1, 2, 4, 5, 6, 8, 9, 10, 11, 13))
    (tmp_path / "report.txt").write_text(whole + "o-15 ship", "utf-8")
    printed = run(str(EXAMPLES / "orders.py"), cwd=tmp_path)
    assert printed.endswith("\n5 lines written to report.txt\n")
    rest = "".join(f"o-{n} shipped-o-{n}\n" for n in (15, 16, 17, 18, 19))
    assert (tmp_path / "report.txt").read_text("utf-8") == whole + rest
