"""The core has no clock, no entropy and no I/O: what it needs of them comes in as values.

It may use the *types* of `uuid`, `random` and `datetime`.  What is impure is found in the
source, as an import or as a use; under ``if TYPE_CHECKING:`` it is refused, too.
"""

from __future__ import annotations

import ast
import re
import sys

import pytest
from package_sources import Import, Source, source, sources
from test_layers import in_core

# Of the core's third-party modules there are these; each is a function of its arguments.
CORE_THIRD_PARTY = ("attr", "attrs", "cattr", "cattrs", "msgpack")

IMPURE = frozenset(
    """
    _thread asyncio atexit concurrent ctypes dbm fcntl fileinput ftplib getpass glob http
    imaplib importlib io mmap multiprocessing os pathlib platform poplib posix pty queue
    resource runpy sched secrets select selectors shutil signal site smtplib socket
    socketserver sqlite3 ssl subprocess syslog tempfile termios threading time tty urllib
    webbrowser xmlrpc
    """.split()  # noqa: SIM905  # a list of fifty would take fifty lines
)

# What the core may use of modules that also have a clock or entropy.
PARTLY_PURE = {
    "uuid": re.compile(r"UUID|SafeUUID|NAMESPACE_\w+|uuid[35]|RFC_4122"),
    "random": re.compile(r"Random"),
    "datetime": re.compile(r"UTC|MAXYEAR|MINYEAR|date|datetime|time|timedelta|timezone|tzinfo"),
}
CLOCKS = frozenset(
    {
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
    }
)
NO_IO = frozenset({"breakpoint", "input", "open", "print"})


def test_the_core_is_pure() -> None:
    assert [wrong for file in sources() if in_core(file.name) for wrong in impurities(file)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import uuid\ndef f(x: uuid.UUID): return uuid.UUID(int=3, version=4)",
        "from random import Random\nr = Random(b'seed')",
        "from datetime import UTC, datetime\nx = datetime.fromtimestamp(0, UTC)",
        "from datetime import datetime\nx = workflow.now().astimezone(zone)",
        "import msgpack, sys, durable.errors",
        "import random\nclass Seeded(random.Random): pass",
        "def uuid4(): return now()",
    ],
)
def test_pure(text: str) -> None:
    assert impurities(source("workflow", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import os.path",
        "from threading import Lock",
        "def f():\n    import sqlite3",
        "if TYPE_CHECKING:\n    import socket",
        "import peewee",
        "from redis import Redis",
        "import pymysql.cursors",
        "from uuid import uuid4",
        "import uuid as u\nx = u.uuid4()",
        "from random import choice",
        "import random\nx = random.random()",
        "from random import Random\nx = Random()",
        "import random\nx = random.Random(None)",
        "from random import SystemRandom",
        "from datetime import datetime as dt\nx = dt.now()",
        "import datetime\nx = field(default_factory=datetime.datetime.utcnow)",
        "from datetime import date\nx = date.today()",
        "from datetime import datetime\nx = datetime.fromtimestamp(0)",
        "x = moment.astimezone()",
        "generator.seed()",
        "open('file')",
    ],
)
def test_impure(text: str) -> None:
    assert len(impurities(source("workflow", text))) == 1


# -- how it is found --------------------------------------------------------------------


def impurities(file: Source) -> list[str]:
    """What a file of the core may not use."""
    wrong = [
        f"{file.path}:{found.line} imports {found.target}"
        + (f".{found.name}" if found.name else "")
        for found in file.imports
        if not _pure(found)
    ]
    names = _imported_names(file.tree)
    for node in ast.walk(file.tree):
        if problem := _impure_use(node, names):
            wrong.append(f"{file.path}:{getattr(node, 'lineno', 0)} uses {problem}")
    return wrong


def _pure(found: Import) -> bool:
    top = found.target.split(".")[0]
    if top in PARTLY_PURE:
        return found.name is None or bool(PARTLY_PURE[top].fullmatch(found.name))
    if top in IMPURE:
        return False
    return top in sys.stdlib_module_names or top in CORE_THIRD_PARTY or top == "durable"


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What the imported names of a file stand for: {"dt": "datetime.datetime"}."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.AST, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return base and f"{base}.{node.attr}"
    return None


def _impure_use(node: ast.AST, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Call):
        return _impure_call(node, names)
    if not isinstance(node, ast.Attribute):
        return None
    whole = _dotted(node, names)
    if whole is None:
        return None
    module, _, rest = whole.partition(".")
    allowed = PARTLY_PURE.get(module)
    if whole in CLOCKS or (allowed and not allowed.fullmatch(rest.split(".")[0])):
        return whole
    return None


def _impure_call(node: ast.Call, names: dict[str, str]) -> str | None:
    """Calls that are impure without an argument, and pure with one."""
    function = node.func
    if isinstance(function, ast.Name) and function.id in NO_IO and function.id not in names:
        return f"{function.id}()"
    whole = _dotted(function, names)
    first = node.args[0] if node.args else None
    nothing = first is None or (isinstance(first, ast.Constant) and first.value is None)
    if whole == "random.Random" and nothing:
        return "Random() without a seed"
    if whole in ("datetime.datetime.fromtimestamp", "datetime.date.fromtimestamp"):
        zone = len(node.args) > 1 or bool(node.keywords)
        return None if zone else "fromtimestamp() in the machine's time zone"
    if isinstance(function, ast.Attribute) and nothing and not node.keywords:
        if function.attr == "astimezone":
            return "astimezone() to the machine's time zone"
        if function.attr == "seed":
            return "seed() from the machine's entropy"
    return None
