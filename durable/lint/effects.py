"""Calls that do not give the same in a replay, or do something once more: tables of names.

A name in `names` is one callable, one in `modules` is everything in a module.  The tables of
two rules have nothing in common, so that one call is one finding.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import ClassVar

from durable.lint.program import Body
from durable.lint.rule import Found, Rule


def named(module: str, names: str) -> frozenset[str]:
    """``named("time", "time sleep")``: the names of a module, dotted."""
    return frozenset(f"{module}.{name}" for name in names.split())


class Effect(Rule):
    """A rule about calls.

    names, modules: what must not be called; fewer: what must not be called with fewer
    arguments than this; free: exceptions to modules; does, instead: the message.
    """

    names: ClassVar[frozenset[str]] = frozenset()
    modules: ClassVar[tuple[str, ...]] = ()
    fewer: ClassVar[Mapping[str, int]] = {}
    free: ClassVar[frozenset[str]] = frozenset()
    does: ClassVar[str]
    instead: ClassVar[str]

    def find(self, body: Body) -> Iterator[Found]:
        for node in body.nodes:
            if isinstance(node, ast.Call):
                name = body.names.resolve(node.func)
                if self._forbids(node, name, body):
                    yield node, f"{shown(name)}() {self.does}: {self.instead}"
            elif isinstance(node, ast.Name | ast.Attribute) and _is_handed_on(node, body):
                name = body.names.resolve(node)
                # Of a module: choice and get, but not its constants and classes.
                is_function = name.rpartition(".")[2].islower() and self.forbids(name, _ENOUGH)
                if name in self.names or is_function:
                    yield node, f"{shown(name)} {self.does}: {self.instead}"
            elif isinstance(node, ast.withitem) and body.is_outside(node.context_expr):
                name = body.names.resolve(node.context_expr)  # with LOCK:
                if name.endswith("()") and self.forbids(name.removesuffix("()"), 0):
                    yield node.context_expr, f"{shown(name)} {self.does}: {self.instead}"

    def _forbids(self, call: ast.Call, name: str, body: Body) -> bool:
        made, is_made, _ = name.partition("()")
        if is_made and body.is_outside(call.func):  # pool.submit, of a global pool
            return self.forbids(made, 0) or self.forbids(name, 0)
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        is_none = [isinstance(each, ast.Constant) and each.value is None for each in given]
        return self.forbids(name, is_none.count(False))  # None stands for one that is not given

    def forbids(self, name: str, arguments: int) -> bool:
        """Whether a name must not be called with so many arguments."""
        if name in self.fewer:
            return arguments < self.fewer[name]
        if name in self.names:
            return True
        # A method of what a module has made is no second finding; nor is an exception's class.
        if "()" in name or name in self.free or name.endswith(_EXCEPTIONS):
            return False
        return name.startswith(tuple(f"{module}." for module in self.modules))


def _is_handed_on(node: ast.expr, body: Body) -> bool:
    """Whether a function is given to somebody who will call it: ``map(print, names)``."""
    parent = body.names.parents[node]
    if isinstance(parent, ast.Call):
        return node is not parent.func
    return isinstance(parent, ast.keyword)


def _is_declared(node: ast.expr, body: Body) -> bool:
    """Whether an expression begins with a variable of which only the type is known."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    found = body.names.bindings(node) if isinstance(node, ast.Name) else []
    return bool(found) and all(each.annotation and not each.value for each in found)


_ENOUGH = 99  # arguments: what will be given to it is not known
_EXCEPTIONS = ("Error", "Exception", "Warning", "Expired", "Timeout")


def shown(name: str) -> str:
    """A name as it is written in a program."""
    return name.removeprefix("builtins.")


class Clock(Effect):
    """A clock is read

    In a replay the clock shows another time, so the workflow may go another way than its history
    says.  ``now()`` is the recorded moment of the event that is handled.

    Bad::

        @workflow
        def remind(due_at: datetime) -> Workflow[None]:
            if datetime.now(UTC) < due_at:
                yield mail.call("soon")

    Instead::

        @workflow
        def remind(due_at: datetime) -> Workflow[None]:
            if now() < due_at:
                yield mail.call("soon")
    """

    code = "DUR101"
    does = "gives another time in each replay"
    instead = "use now()"
    names = (
        named("time", "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns")
        | named("time", "process_time process_time_ns thread_time thread_time_ns")
        | named("time", "clock_gettime clock_gettime_ns")
        | named("datetime.datetime", "now utcnow today")
        | named("datetime.date", "today")
        | named("django.utils.timezone", "now localdate localtime")
        | named("pandas.Timestamp", "now utcnow today")
        | {"arrow.now", "arrow.utcnow", "os.times", "pendulum.now", "pendulum.today"}
        | {"timeit.default_timer"}
    )
    # With a moment given they only change its form.
    fewer: ClassVar[Mapping[str, int]] = {
        "email.utils.formatdate": 1,
        "email.utils.localtime": 1,
        "time.asctime": 1,
        "time.ctime": 1,
        "time.gmtime": 1,
        "time.localtime": 1,
        "time.strftime": 2,
    }


class Randomness(Effect):
    """A random number is drawn

    A replay draws another one.  ``random()`` gives a ``random.Random`` that draws the same each
    time.  What must not be guessed is made by an activity, or recorded by
    ``side_effect(secrets.token_hex)``.

    Bad::

        @workflow
        def draw(names: list[str]) -> Workflow[str]:
            winner = choice(names)
            yield mail.call(winner)
            return winner

    Instead::

        @workflow
        def draw(names: list[str]) -> Workflow[str]:
            winner = names[int(random().random() * len(names))]
            yield mail.call(winner)
            return winner
    """

    code = "DUR102"
    does = "draws another number in each replay"
    instead = "use random(), or side_effect for what must not be guessed"
    names = named("os", "urandom getrandom") | {"random.SystemRandom"}
    modules = ("random", "secrets", "numpy.random")
    # With a seed they draw the same.
    fewer: ClassVar[Mapping[str, int]] = {
        "random.Random": 1,
        "numpy.random.RandomState": 1,
        "numpy.random.default_rng": 1,
    }
    free = frozenset({"secrets.compare_digest"})


class Uuid(Effect):
    """A UUID is made

    A replay makes another one.  ``uuid4()`` of this library derives it from the instance.
    ``uuid.uuid5`` and ``UUID(…)`` compute, and are free.

    Bad::

        @workflow
        def book(order: str) -> Workflow[str]:
            number = str(uuid.uuid4())
            yield mail.call(number)
            return number

    Instead::

        @workflow
        def book(order: str) -> Workflow[str]:
            number = str(uuid4())
            yield mail.call(number)
            return number
    """

    code = "DUR103"
    does = "makes another one in each replay"
    instead = "use uuid4() of durable"
    names = named("uuid", "uuid1 uuid4 uuid6 uuid7 uuid8 getnode")


class Io(Effect):
    """A file, the network, a database or a process is used

    It is done again in every replay, may give something else each time, and holds up the worker.
    An activity does it once, is tried again if it fails, and its result is recorded.

    Bad::

        @workflow
        def load(path: str) -> Workflow[int]:
            with open(path) as file:
                lines = file.readlines()
            yield mail.call(str(len(lines)))
            return len(lines)

    Instead::

        @activity
        def count(path: str) -> int:
            with open(path) as file:
                return len(file.readlines())

        @workflow
        def load(path: str) -> Workflow[int]:
            lines = yield from count.call(path)
            yield mail.call(str(lines))
            return lines
    """

    code = "DUR104"
    does = "is done again in every replay"
    instead = "do it in an activity"
    names = (
        named("builtins", "breakpoint input open")
        | named("pdb", "post_mortem set_trace")
        | named("sys.stdin", "read readline readlines")
        | named("os", "access chmod chown close fsync ftruncate kill link listdir lstat makedirs")
        | named("os", "mkdir mkfifo open pipe popen read readlink remove removedirs rename renames")
        | named("os", "replace rmdir scandir stat statvfs symlink sync system truncate unlink")
        | named("os", "utime walk write fork execv execve execvp spawnl spawnv")
        | named("os.path", "exists getatime getctime getmtime getsize isdir isfile islink ismount")
        | named("os.path", "lexists realpath samefile")
        | named("io", "open FileIO open_code")
        | named("codecs", "open")
        | named("gzip", "open")
        | named("bz2", "open")
        | named("lzma", "open")
        | named("zipfile", "ZipFile")
        | named("tarfile", "open TarFile")
        | named("linecache", "getline getlines")
        | named("pandas", "read_csv read_excel read_json read_parquet read_sql")
        | named("sqlalchemy", "create_engine Connection Engine")
        | named("sqlalchemy.engine", "create_engine Connection Engine")
        | named("sqlalchemy.orm", "Session scoped_session sessionmaker")
        | named("sqlalchemy.ext.asyncio", "AsyncConnection AsyncEngine AsyncSession")
        | named("sqlalchemy.ext.asyncio", "async_sessionmaker create_async_engine")
        | named("sqlmodel", "Session create_engine")
    )
    modules = (
        *("aiohttp", "boto3", "ftplib", "glob", "http.client", "httpx", "imaplib", "MySQLdb"),
        *("paramiko", "poplib", "psycopg", "psycopg2", "pymongo", "pymysql", "redis", "requests"),
        *("shutil", "smtplib", "socket", "sqlite3", "subprocess", "tempfile", "urllib.request"),
        *("urllib3", "webbrowser", "asyncpg", "aiofiles", "fileinput", "shelve", "dbm"),
        *("django.core.mail", "django.db.connection", "grpc", "kafka", "pika", "select"),
        *(
            "selectors",
            "ssl",
            "anthropic",
            "elasticsearch",
            "mysql.connector",
            "openai",
            "oracledb",
        ),
        *("pyodbc", "stripe"),
    )
    free = (
        named("socket", "gethostname getfqdn inet_aton inet_ntoa inet_ntop inet_pton")
        | named("socket", "error gaierror herror timeout")
        | named("httpx", "URL Headers QueryParams")
        | {"shutil.get_terminal_size", "stripe.Webhook.construct_event", "subprocess.list2cmdline"}
    )

    def _forbids(self, call: ast.Call, name: str, body: Body) -> bool:
        made, _, method = name.partition("()")
        is_client = bool(method) and made.rpartition(".")[2] in _CLIENTS
        if is_client and _is_declared(call.func, body):  # session.execute, of a parameter
            return self.forbids(made, 0)
        return super()._forbids(call, name, body)

    def forbids(self, name: str, arguments: int) -> bool:
        on_path, _, method = name.rpartition(".")
        if on_path.startswith("pathlib.Path()"):
            return method in _PATH_METHODS
        return super().forbids(name, arguments) and not name.startswith(_PURE)


# Parts of those modules that only compute.
_PURE = (
    *("anthropic.types.", "boto3.dynamodb.", "openai.types.", "psycopg.sql.", "psycopg2.sql."),
    "requests.utils.",
)
# Classes of those modules whose methods ask a server; those of a response or a row only compute.
_CLIENTS = frozenset(
    {
        *("Anthropic", "AsyncAnthropic", "AsyncClient", "AsyncConnection", "AsyncEngine"),
        *("AsyncOpenAI", "AsyncSession", "Client", "ClientSession", "Connection", "Cursor"),
        *("Elasticsearch", "Engine", "MongoClient", "OpenAI", "Pool", "PoolManager", "Redis"),
        *("SMTP", "Session", "StripeClient", "scoped_session", "sessionmaker", "socket"),
    }
)

_PATH_METHODS = frozenset(
    {
        *("chmod", "exists", "glob", "group", "hardlink_to", "is_dir", "is_file", "is_mount"),
        *("is_symlink", "iterdir", "lchmod", "lstat", "mkdir", "open", "owner", "read_bytes"),
        *("read_text", "readlink", "rename", "replace", "resolve", "rglob", "rmdir", "samefile"),
        *("stat", "symlink_to", "touch", "unlink", "walk", "write_bytes", "write_text"),
    }
)


class Output(Effect):
    """Something is printed or logged in every replay

    Nothing breaks: a replay only says it again.  ``logger()`` is silent in replay, and its records
    name the instance.  ``if not info().is_replaying:`` will do as well.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[None]:
            print("greeting", name)
            yield mail.call(name)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[None]:
            logger().info("greeting %s", name)
            yield mail.call(name)
    """

    code = "DUR105"
    does = "says it again in every replay"
    instead = "use logger()"
    names = (
        named("builtins", "print")
        | named("pprint", "pprint pp")
        | named("sys.stdout", "write")
        | named("sys.stderr", "write")
        | named("rich", "print")
        | named("click", "echo secho")
        | named("traceback", "print_exc print_exception print_last print_stack print_tb")
    )

    def find(self, body: Body) -> Iterator[Found]:
        for node, message in super().find(body):
            if not any(map(_asks_for_replay, body.within(node))):
                yield node, message

    def forbids(self, name: str, arguments: int) -> bool:
        logs, _, method = name.rpartition(".")
        return name in self.names or (logs in _LOGGERS and method in _LEVELS)


def _asks_for_replay(node: ast.AST) -> bool:
    """``if not info().is_replaying:``"""
    return isinstance(node, ast.If) and any(
        isinstance(each, ast.Attribute) and each.attr == "is_replaying"
        for each in ast.walk(node.test)
    )


_LOGGERS = ("logging", "logging.getLogger()", "loguru.logger", "structlog.get_logger()")
_LEVELS = frozenset(
    {
        *("debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"),
        *("success", "trace"),
    }
)


class Sleep(Effect):
    """A thread sleeps

    It holds up the worker, and sleeps again in every replay.  ``sleep`` is a timer in the store:
    it costs nothing while it waits, and may take a year.

    Bad::

        @workflow
        def remind(name: str) -> Workflow[None]:
            time.sleep(60)
            yield mail.call(name)

    Instead::

        @workflow
        def remind(name: str) -> Workflow[None]:
            yield sleep(60)
            yield mail.call(name)
    """

    code = "DUR106"
    does = "holds up the worker, again in every replay"
    instead = "write `yield sleep(…)`"
    names = frozenset(
        f"{module}.sleep" for module in ("time", "asyncio", "trio", "anyio", "gevent", "eventlet")
    )


class Threads(Effect):
    """A thread, a process or an event loop is used

    Their order differs from run to run, and a replay starts them again.  ``gather``, ``race`` and
    ``spawn`` do things side by side, in an order that is recorded.

    Bad::

        @workflow
        def both(a: str, b: str) -> Workflow[None]:
            with ThreadPoolExecutor() as pool:
                pool.map(mail, [a, b])
            yield sleep(1)

    Instead::

        @workflow
        def both(a: str, b: str) -> Workflow[None]:
            yield gather(mail.call(a), mail.call(b))
            yield sleep(1)
    """

    code = "DUR107"
    does = "is not repeated in the same order"
    instead = "use gather, race or spawn"
    modules = (
        *("_thread", "anyio", "asyncio", "concurrent.futures", "eventlet", "gevent"),
        *("multiprocessing", "threading", "trio"),
    )
    free = Sleep.names

    def _forbids(self, call: ast.Call, name: str, body: Body) -> bool:
        if name in _TAKEN and body.is_outside(call.func):  # what others have put there
            return True
        return super()._forbids(call, name, body)


_TAKEN = frozenset(
    f"queue.{kind}().{method}"
    for kind in ("LifoQueue", "PriorityQueue", "Queue", "SimpleQueue")
    for method in ("get", "get_nowait", "join")
)


class Identity(Effect):
    """``id()`` or ``hash()`` is called

    An address is another one in each process, and so is the hash of a text.  A key of your own,
    or a digest of ``hashlib``, stays the same.

    Bad::

        @workflow
        def assign(name: str) -> Workflow[None]:
            if hash(name) % 2:
                yield mail.call(name)

    Instead::

        @workflow
        def assign(name: str) -> Workflow[None]:
            if hashlib.sha256(name.encode()).digest()[0] % 2:
                yield mail.call(name)
    """

    code = "DUR111"
    does = "is another number in each process"
    instead = "use a key of your own, or hashlib"
    names = named("builtins", "hash id object().__hash__")
