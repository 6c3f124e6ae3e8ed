"""The examples are programs: each is run, as a program and by the command line, and what it
prints is compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
LIMIT = 60

PRINTED = {
    "approval": "holiday: yes, says bob\npay rise: nobody answered\n",
    "fan_out": "41340\n",
    "orders": ("20 orders: 15 shipped, 5 wait for an approval\n15 lines written to report.txt\n"),
    "resume": "1\n2\n3\ncounted to 3\n",
    "retries": (
        "worked at attempt 3\n"
        "durable.errors.PermanentError at attempt 1: the card is stolen\n"
        "UnicodeError at attempt 1: not a name\n"
        "durable.errors.TimeoutExpired at attempt 2: slow took longer than 0.05 s\n"
    ),
    "side_effect": "ann: reset\nben: wrong code\n",
    "subscription": (
        "card-1 {'paid': 1000, 'overdue': 0} {'cycle': 6, 'paid': 1000, 'overdue': 0}\n"
        "card-2 {'paid': 714, 'overdue': 286} {'cycle': 6, 'paid': 714, 'overdue': 286}\n"
    ),
    "sum2rn": "6196310448192502216\n",
}
"""What each program prints."""

RESULTS = [
    ("approval:approval", ['"holiday"', "0.1"], "holiday: nobody answered"),
    ("fan_out:total", ["40"], 41340),
    ("orders:write_report", ['"report.txt"', '{"o-1": "shipped-o-1"}'], 1),
    ("retries:retries", [], PRINTED["retries"].splitlines()),
    ("side_effect:password_reset", ['"ann"', "0.1"], "ann: too late"),
    ("subscription:subscription", ['"card-2"', "1000", "7", "0.05"], {"paid": 714, "overdue": 286}),
    ("sum2rn:sum2rn", ["100"], 6196310448192502216),
]
"""What `durable run` gives: target, arguments, result."""


def environment() -> dict[str, str]:
    """The sources are found by programs in other directories, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(*words: str, cwd: Path) -> str:
    """What a program prints; it must end with 0."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def durable(*words: str, cwd: Path) -> str:
    return run("-m", "durable", *words, cwd=cwd)


def test_each_example_has_its_test() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(PRINTED)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_programs(name: str, tmp_path: Path) -> None:
    assert run(str(EXAMPLES / f"{name}.py"), cwd=tmp_path) == PRINTED[name]


@pytest.mark.parametrize(("target", "args", "result"), RESULTS, ids=[r[0] for r in RESULTS])
def test_by_the_command_line(target: str, args: list[str], result: object, tmp_path: Path) -> None:
    module, flow = target.split(":")
    printed = durable("run", f"{EXAMPLES / module}.py:{flow}", *args, cwd=tmp_path)
    assert json.loads(printed) == result


def test_the_report_has_each_order_once(tmp_path: Path) -> None:
    """Also if the report is there already, and was cut short by a crash."""
    whole = "".join(f"o-{n} shipped-o-{n}\n" for n in (1, 2, 4, 5, 6, 8, 9, 10, 11, 13))
    (tmp_path / "report.txt").write_text(whole + "o-15 ship", "utf-8")
    printed = run(str(EXAMPLES / "orders.py"), cwd=tmp_path)
    assert printed.endswith("\n5 lines written to report.txt\n")
    rest = "".join(f"o-{n} shipped-o-{n}\n" for n in (15, 16, 17, 18, 19))
    assert (tmp_path / "report.txt").read_text("utf-8") == whole + rest


def test_a_signal_from_another_process(tmp_path: Path) -> None:
    target = f"{EXAMPLES / 'approval.py'}:approval"
    waiting = start(
        "-m", "durable", "run", target, '"holiday"', "3600", "--id", "holiday", cwd=tmp_path
    )
    try:
        assert waiting.stderr is not None
        until(waiting.stderr, "timer until")
        value = '{"by": "bob", "yes": false}'
        durable("signal", "holiday", "decide", value, cwd=tmp_path)
        out, _ = waiting.communicate(timeout=LIMIT)
    finally:
        waiting.kill()
        waiting.wait()
    assert json.loads(out) == "holiday: no, says bob"


def test_killed_it_goes_on(tmp_path: Path) -> None:
    command = ["-m", "durable", "run", f"{EXAMPLES / 'resume.py'}:count", "6", "0.2", "--id", "c"]
    killed = start(*command, cwd=tmp_path)
    assert killed.stdout is not None
    until(killed.stdout, "3")
    killed.kill()
    killed.communicate(timeout=LIMIT)
    # The third number may not have been recorded any more: then it is said again.
    again = run(*command, cwd=tmp_path).splitlines()
    assert again in (["4", "5", "6", '"counted to 6"'], ["3", "4", "5", "6", '"counted to 6"'])
    assert run(*command, cwd=tmp_path) == '"counted to 6"\n'


def until(lines: object, text: str) -> None:
    """Read lines up to one with this text."""
    seen = []
    for line in lines:  # type: ignore[attr-defined]
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} is not among {seen}")
