"""Runs mypy and pyright over the programs in this folder and compares what they find.

    python tests/typing/check.py [mypy | pyright]...

good_*.py are right: nothing may be found in them.  In bad_*.py each mistake carries the codes
under which the checkers find it, at its end or on a line of its own above it; a checker that is
not named must be silent:

    charge.call(5)  # E: mypy[arg-type, unused-awaitable] pyright[reportArgumentType]

Both run in their strict mode; mypy also with unused-awaitable, which finds forgotten yields.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent

Place = tuple[str, int]
"""The name of a file, and a line from 1."""

Codes = Mapping[Place, set[str]]

EXPECTATION = re.compile(r"(\w+)\[([\w-]+(?:, [\w-]+)*)\] ?")

# Said of what follows from a mistake in the same line.
FOLLOW = re.compile(r"reportUnknown\w+|reportUntyped\w+|untyped-decorator|var-annotated")


def programs(folder: Path = FOLDER) -> list[Path]:
    return sorted([*folder.glob("good_*.py"), *folder.glob("bad_*.py")])


def expected(name: str, text: str, checker: str) -> dict[Place, set[str]]:
    """The codes that a checker must find, by line; `ValueError` for a mark that is none."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        code, mark, text = line.partition("# E: ")
        if not mark:
            continue
        if EXPECTATION.sub("", text):
            raise ValueError(f"{name}:{number}: cannot read {text!r}")
        for which, codes in EXPECTATION.findall(text):
            if which not in CHECKERS:
                raise ValueError(f"{name}:{number}: there is no checker {which!r}")
            if which == checker:
                found[name, number if code.strip() else number + 1] = set(codes.split(", "))
    return found


def differences(wanted: Codes, found: Codes) -> list[str]:
    """What was not found, and what was found that is not expected."""
    texts = []
    for place in sorted({*wanted, *found}):
        want, got = wanted.get(place, set()), _first(found.get(place, set()))
        where = f"{place[0]}:{place[1]}"
        texts += [f"{where}: {code} was not found" for code in sorted(want - got)]
        texts += [f"{where}: {code} was found" for code in sorted(got - want)]
    return texts


def _first(codes: set[str]) -> set[str]:
    """Without those that only follow from others."""
    return {code for code in codes if not FOLLOW.fullmatch(code)} or codes


# -- the checkers -----------------------------------------------------------------------


def run_mypy(paths: Iterable[Path]) -> Codes:
    """What mypy finds, by code; it keeps a cache of its own, for its options are others."""
    options = ["--config-file=", "--strict", "--enable-error-code=unused-awaitable"]
    options += ["--python-version=3.11", "--follow-imports=silent", "--output=json"]
    options += [f"--cache-dir={ROOT / '.mypy_cache' / 'typing'}"]
    out = _output([sys.executable, "-m", "mypy", *options, *map(str, paths)])
    found = defaultdict(set)
    for line in out.splitlines():
        item = json.loads(line)
        if item["severity"] == "error":
            found[Path(item["file"]).name, item["line"]].add(item["code"] or "error")
    return found


def run_pyright(paths: Iterable[Path]) -> Codes:
    """What pyright finds, by rule; ``paths`` are those that its configuration names."""
    options = ["--project", str(FOLDER), "--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(_output([sys.executable, "-m", "pyright", *options]))
    assert report["summary"]["filesAnalyzed"] == len(list(paths)), report["summary"]
    found = defaultdict(set)
    for item in report["generalDiagnostics"]:
        line = item["range"]["start"]["line"] + 1
        found[Path(item["file"]).name, line].add(item.get("rule", "error"))
    return found


def _output(command: list[str]) -> str:
    """What a checker prints; 0 and 1 mean that it has looked at everything."""
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode > 1 or (done.returncode and not done.stdout):
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


CHECKERS: dict[str, Callable[[Iterable[Path]], Codes]] = {
    "mypy": run_mypy,
    "pyright": run_pyright,
}


def check(checker: str) -> list[str]:
    """Where a checker differs from what is expected of it."""
    paths = programs()
    wanted: dict[Place, set[str]] = {}
    for path in paths:
        wanted.update(expected(path.name, path.read_text("utf-8"), checker))
    return differences(wanted, CHECKERS[checker](paths))


def main() -> int:
    failed = False
    for checker in sys.argv[1:] or CHECKERS:
        wrong = check(checker)
        print(*[f"{checker}: {text}" for text in wrong], sep="\n", end="\n" if wrong else "")
        print(f"{checker}: {len(wrong)} differences in {len(programs())} programs")
        failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
