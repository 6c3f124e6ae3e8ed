"""What is SQLite's own: query plans, files, several processes, forks, waking, errors."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable.errors import OutcomeUnknown, StoreError, UsageError
from durable.model import Status
from durable.store import Filter, Poison, Sent, Step, Unavailable, Verdict
from durable.stores import (
    migrations,
    open_store,
    redact,
    sql_claim,
    sql_clients,
    sql_commit,
    sql_messages,
    sql_reads,
    sql_results,
    sql_rows,
    sql_workers,
)
from durable.stores.errors import ACTIONS, SQLITE, Kind
from durable.stores.memory import MemoryStore
from durable.stores.sql_text import BIG, MANY_ROWS, SIZES, Query, Statement
from durable.stores.sqlite import DIALECT, SqliteStore
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    PATIENCE,
    FakeWorker,
    a_finished,
    a_message,
    a_step,
    a_task,
    an_instance,
    events,
    inbox,
    look,
    send,
    start,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    store.open()
    yield store
    store.close()


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """Another process, with pipes."""
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str], tell: str = "") -> str:
    """What a process printed; it must end well."""
    out, err = process.communicate(tell, timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


# -- query plans ------------------------------------------------------------------------

MODULES = (sql_claim, sql_clients, sql_commit, sql_messages, sql_reads, sql_results, sql_rows)
SMALL = {"workers", "migration"}
"""Tables that are read whole."""


def statements() -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for module in (*MODULES, sql_workers):
        for name, value in vars(module).items():
            several = value if isinstance(value, list) else [value]
            for n, one in enumerate(several):
                if isinstance(one, Statement):
                    found[f"{module.__name__.rpartition('.')[2]}.{name}.{n}"] = one
    return found


STATEMENTS = statements()


def plan(store: SqliteStore, statement: Statement, size: int | None = None) -> list[str]:
    """The lines of the plan that tell how tables are read."""
    listed = "{list}" in statement.text or "{values}" in statement.text
    size = (20 if listed else 0) if size is None else size
    texts = [store._texts.plain(statement, size)]
    if isinstance(statement, Query):
        texts.append(store._texts.packed(statement, size))
    lines: list[str] = []
    for text in texts:
        with sqlite3.connect(store._path) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))
            lines += [row[3].replace("durable_", "") for row in rows.fetchall()]
        connection.close()
    return [line for line in lines if line.startswith(("SCAN", "SEARCH", "USE TEMP"))]


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_a_whole_table(store: SqliteStore, name: str) -> None:
    tables = {*store.models.names} - SMALL
    for line in plan(store, STATEMENTS[name]):
        scanned = re.match(r"SCAN (\w+)", line)
        assert not scanned or scanned.group(1) not in tables, line
        aliased = re.match(r"SCAN [itpr]\b", line)
        assert not aliased, line


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        (
            sql_claim.FREE_INSTANCES,
            "SEARCH instances USING COVERING INDEX instances_free"
            " (owner=? AND queue=? AND needs=? AND wake_at<?)",
        ),
        (
            sql_claim.OWN_INSTANCES,
            "SEARCH instances USING COVERING INDEX instances_own_due (owner=? AND wake_at<?)",
        ),
        (
            sql_claim.FREE_TASKS,
            "SEARCH tasks USING COVERING INDEX tasks_free"
            " (owner=? AND queue=? AND name=? AND wake_at<?)",
        ),
        (sql_claim.OWNED_TASKS, "SEARCH t USING INDEX tasks_owned (owner=?)"),
        (sql_claim.OWNED_INSTANCES, "SEARCH instances USING INDEX instances_owned (owner=?)"),
        (sql_commit.FENCE, "SEARCH instances USING INDEX instances_uid (uid=?)"),
        (sql_commit.INBOX, "SEARCH inbox USING COVERING INDEX inbox_instance (number=?)"),
        (
            sql_commit.HELD,
            "SEARCH t USING INDEX tasks_key (number=? AND run=? AND command=?)",
        ),
        (
            sql_messages.RECEIPTS,
            "SEARCH r USING PRIMARY KEY (number=? AND message_id=?)",
        ),
        (
            sql_reads.HISTORY,
            "SEARCH history USING INDEX history_key (number=? AND run=?)",
        ),
        (
            sql_clients.ENDED,
            "SEARCH instances USING INDEX instances_finished (finished_at<?)",
        ),
        (
            sql_workers.WAKE_REFUSED,
            "SEARCH instances USING INDEX instances_listed (status=?)",
        ),
    ],
    ids=lambda value: value.split(" (")[0] if isinstance(value, str) else "",
)
def test_a_hot_statement_uses_its_index(
    store: SqliteStore, statement: Statement, line: str
) -> None:
    lines = plan(store, statement)
    assert line in lines
    assert not any("TEMP B-TREE FOR ORDER BY" in other for other in lines)


def test_listings_use_their_index(store: SqliteStore) -> None:
    texts: list[tuple[str, Any]] = []
    look_at = sql_reads._keys(store.models, Filter(cursor="1-00"), [])
    tagged = sql_reads._keys(store.models, Filter(tag="t", since=1), [])
    of_status = [store.models.instances.status == "running"]
    texts += [look_at, tagged, sql_reads._keys(store.models, Filter(), of_status)]
    lines = []
    for text, params in texts[1:]:
        with sqlite3.connect(store._path) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", params).fetchall()
        connection.close()
        lines.append([row[3].replace("durable_", "") for row in rows])
    assert lines[0][0] == "SEARCH t1 USING PRIMARY KEY (tag=? AND created_at>?)"
    assert lines[1] == ["SEARCH t1 USING COVERING INDEX instances_listed (status=?)"]


class Effort:
    """Counts the steps of SQLite's machine on this thread's connection."""

    def __init__(self, store: SqliteStore) -> None:
        link = store._links.mine()
        assert link.connection is not None
        self.connection = link.connection
        self.steps = 0

    def of(self, work: Callable[[], object]) -> int:
        self.steps = 0
        self.connection.set_progress_handler(self._tick, 10)
        work()
        self.connection.set_progress_handler(None, 0)
        return self.steps

    def _tick(self) -> int:
        self.steps += 1
        return 0


def test_a_claim_costs_the_same_beside_many_that_wait(store: SqliteStore) -> None:
    """Waiting, blocked, finished, owned, or due but for other workers' code."""

    def effort() -> tuple[int, int]:
        worker = FakeWorker(store, f"w-{os.urandom(4).hex()}")
        nothing = count.of(worker.claim)
        start(store, os.urandom(4).hex())
        something = count.of(worker.claim)
        store.unregister(worker.id)
        store._write(lambda tx: tx.raw("UPDATE durable_instances SET wake_at = NULL"))
        return nothing, something

    def many(prefix: str, **changes: Any) -> None:
        store.create([an_instance(store, f"{prefix}-{n}", **changes) for n in range(3000)], "raise")

    count = Effort(store)
    effort()
    before = effort()
    many("parked", workflow="parked", start_at=store.now() + HOUR)
    many("foreign", workflow="foreign")
    many("ended", queue="ended")
    ender = FakeWorker(store, "ender", queues=("ended", "owned"))
    while claimed := ender.claim().instances:
        ender.commit(*(a_step(one, end=COMPLETED) for one in claimed))
    many("owned", queue="owned")
    while claimed := ender.claim().instances:
        later = store.now() + HOUR
        ender.commit(
            *(a_step(one, tasks=[a_task(store, name="foreign")], wake_at=later) for one in claimed)
        )
    many("future", start_at=store.now() + HOUR)
    after = effort()
    # A little more, for three more ranges to jump over; reading 3000 rows would be thousands.
    assert after[0] <= before[0] + 100
    assert after[1] <= before[1] + 100


# -- sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, BIG - 1, BIG, BIG + 1, 100_000])
def test_payloads_around_the_limit_of_packing(store: SqliteStore, length: int) -> None:
    payload = os.urandom(length)
    uid = start(store, args=payload, kwargs=payload)
    send(store, "m-1", event=payload)
    worker = FakeWorker(store)
    claimed = worker.take()
    assert (claimed.instance.args, claimed.instance.kwargs) == (payload, payload)
    assert claimed.messages[0].event == payload
    worker.advance(claimed, events=[payload, b"", payload], tasks=[a_task(store, args=payload)])
    assert events(store, uid) == [payload, b"", payload]
    assert worker.take_task().args == payload


@pytest.mark.parametrize("count", [MANY_ROWS, MANY_ROWS + 1])
def test_rows_around_the_limit_of_packing(store: SqliteStore, count: int) -> None:
    uid = start(store)
    worker = FakeWorker(store)
    many = [b"%d" % n for n in range(count)]
    worker.advance(worker.take(), events=many, release=True)
    assert events(store, uid) == many
    store.send([a_message("i-1", f"m-{n}") for n in range(count)])
    claimed = worker.take()
    assert [message.message_id for message in claimed.messages] == [f"m-{n}" for n in range(count)]
    worker.finish(claimed)


@pytest.mark.parametrize("count", [*SIZES, *(size + 1 for size in SIZES), 999, 1001])
def test_batches_of_every_size(store: SqliteStore, count: int) -> None:
    ids = [f"i-{n}" for n in range(count)]
    uids = [one.uid for one in store.create([an_instance(store, id) for id in ids], "raise")]
    worker = FakeWorker(store)
    claimed = worker.claim().instances
    claimed += worker.claim().instances
    first = [a_step(one, tasks=[a_task(store, 1, owner="w-1")]) for one in claimed]
    assert worker.commit(*first) == [COMMITTED] * count
    second = [Step(one.instance.uid, 1, 1, 1, [b"two", b"three"], done=[(1, 1)]) for one in claimed]
    assert worker.commit(*second) == [COMMITTED] * count
    assert {len(history) for history in store.history([(uid, 1) for uid in uids])} == {3}
    assert store.stats().tasks_running == 0


def test_one_lost_task_in_a_large_batch(store: SqliteStore) -> None:
    store.create([an_instance(store, f"i-{n}") for n in range(600)], "raise")
    worker = FakeWorker(store)
    claimed = worker.claim().instances
    tasks = [[a_task(store, n, owner="w-1") for n in (1, 2)] for _ in claimed]
    worker.commit(*(a_step(one, tasks=new) for one, new in zip(claimed, tasks, strict=True)))
    steps = [
        Step(one.instance.uid, 1, 1, 1, [b"two"], done=[(1, 1), (2, 2 if n == 555 else 1)])
        for n, one in enumerate(claimed)
    ]
    verdicts = worker.commit(*steps)
    assert [n for n, verdict in enumerate(verdicts) if verdict is Verdict.LOST] == [555]
    [left] = [one for n, one in enumerate(claimed) if n == 555]
    assert [task.command for task in store.tasks(left.instance.uid)] == [1, 2]
    assert store.stats().tasks_running == 2


def test_a_fan_out_is_not_read_when_one_of_it_ends(store: SqliteStore) -> None:
    start(store)
    worker = FakeWorker(store)
    many = [a_task(store, n, owner="w-1") for n in range(5000)]
    instance = worker.advance(worker.take(), tasks=many)
    count = Effort(store)
    step = a_step(instance, done=[(77, 1)])
    assert count.of(lambda: worker.commit(step)) < 200


# -- the schema -------------------------------------------------------------------------

OPEN = """
import sys
from durable.stores import open_store
store = open_store("sqlite:///" + sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.open()
print(*store.schema())
store.close()
"""


def test_processes_that_start_at_once_migrate_once(path: Path) -> None:
    processes = [python(OPEN, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    version = f"{migrations.WANTED} {migrations.WANTED}\n"
    assert [ended(process) for process in processes] == [version] * 4
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT version FROM durable_migration").fetchall()
    connection.close()
    assert rows == [(migration.version,) for migration in migrations.MIGRATIONS]


def test_a_dry_run_shows_what_open_does(path: Path) -> None:
    store = SqliteStore(path)
    assert store.schema() == (0, migrations.WANTED)
    shown = store.migrate(dry_run=True)
    assert store.schema() == (0, migrations.WANTED)
    assert any(text.startswith('CREATE TABLE "durable_instances"') for text in shown)
    assert store.migrate() == shown
    assert store.migrate() == []
    store.close()


def test_a_newer_schema_is_refused(store: SqliteStore, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO durable_migration VALUES (99, 'of tomorrow', 1)")
    connection.close()
    for refused in (store.open, store.migrate):
        with pytest.raises(StoreError, match=r"schema version 99.* up to 1: upgrade"):
            refused()
    assert store.schema() == (99, migrations.WANTED)


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = migrations.Migration(2, "broken", lambda _: ["CREATE TABLE one (x)", "CREATE oops"])
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="syntax error"):
        store.migrate()
    assert store.schema()[0] == 0
    monkeypatch.undo()
    store.open()
    start(store)
    store.close()


def test_two_prefixes_share_a_file(path: Path) -> None:
    one, two = (open_store(f"sqlite:///{path}?prefix={prefix}") for prefix in ("a_", "b_"))
    for store in (one, two):
        store.open()
    start(one, args=b"one")
    assert two.instance("i-1") is None
    start(two, args=b"two")
    assert [look(store).args for store in (one, two)] == [b"one", b"two"]
    for store in (one, two):
        store.close()


# -- files ------------------------------------------------------------------------------


def test_a_new_file_belongs_to_its_user(store: SqliteStore, path: Path) -> None:
    start(store)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "absent" / "x.db")
    with pytest.raises(StoreError, match=f"directory {tmp_path}/absent of the database does not"):
        store.open()


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"something else entirely\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"x\.db: file is not a database"):
        SqliteStore(path).open()
    assert path.read_bytes() == before


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open"):
        SqliteStore(tmp_path).open()


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///rel.db")
    monkeypatch.chdir("/")
    store.open()
    assert (tmp_path / "rel.db").exists()
    assert store.url == "sqlite:///rel.db"
    store.close()


def test_size_counts_the_log(store: SqliteStore) -> None:
    before = store.size()
    start(store, args=b"x" * 1_000_000)
    assert store.size() >= before + 1_000_000


@pytest.mark.parametrize("tier", ["full", "normal"])
def test_only_what_must_be_on_the_disk_is_synced(path: Path, tier: str) -> None:
    store = SqliteStore(path, synchronous=tier)
    store.open()
    full = tier == "full"

    def synced() -> bool:
        link = store._links.mine()
        [level] = link.cursor.execute("PRAGMA synchronous").fetchone()
        assert level == (2 if link.full else 1)
        return link.full

    start(store)
    assert synced() is full
    worker = FakeWorker(store)
    assert not synced()
    claimed = worker.take()
    assert not synced()
    worker.advance(claimed, tasks=[a_task(store, owner="w-1")])
    assert synced() is full
    store.heartbeat("w-1", HOUR)
    assert not synced()
    send(store)
    assert synced() is full
    store.close()


# -- connections ------------------------------------------------------------------------


def test_a_connection_is_closed_when_its_thread_ends(store: SqliteStore) -> None:
    start(store)
    before = len(store._links._all)
    for _ in range(5):
        thread = threading.Thread(target=store.instance, args=["i-1"])
        thread.start()
        thread.join()
    assert len(store._links._all) == before


def test_close_waits_for_verbs_under_way(store: SqliteStore) -> None:
    start(store)
    inside, go = threading.Event(), threading.Event()

    def slow(tx: Any) -> bool:
        inside.set()
        assert go.wait(PATIENCE)
        tx.raw("UPDATE durable_instances SET reason = 'slow'")
        return True

    writer = threading.Thread(target=store._write, args=[slow])
    writer.start()
    assert inside.wait(PATIENCE)
    closer = threading.Thread(target=store.close)
    closer.start()
    go.set()
    writer.join(PATIENCE)
    closer.join(PATIENCE)
    assert not writer.is_alive()
    assert not closer.is_alive()
    assert look(store).reason == "slow"


def test_threads_never_get_what_belongs_to_others(store: SqliteStore) -> None:
    """Every value says whose it is."""
    wrong: list[object] = []

    def work(name: str) -> None:
        worker = FakeWorker(store, name, queues=(name,), workflows=(name,))
        for n in range(15):
            id = f"{name}-{n}"
            uid = start(store, id, workflow=name, queue=name, args=id.encode())
            send(store, f"m-{id}", id)
            claimed = worker.take()
            instance = worker.advance(claimed, events=[id.encode()] * 2, release=True)
            found = (claimed.instance.id, instance.args, claimed.messages[0].message_id)
            if found != (id, id.encode(), f"m-{id}") or look(store, id).uid != uid:
                wrong.append(found)
            if set(events(store, uid)) != {id.encode()}:
                wrong.append((id, "history"))
            store.send([a_message(id, f"n-{id}")])
            if [message_id for message_id, _ in inbox(store, uid)] != [f"n-{id}"]:
                wrong.append((id, "inbox"))
            worker.finish(worker.take())

    threads = [threading.Thread(target=work, args=[f"t{n}"]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * PATIENCE)
    assert wrong == []
    assert store.stats().instances["completed"] == 8 * 15


def child(work: Callable[[], object]) -> int:
    """Run something in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_go_on(store: SqliteStore) -> None:
    start(store, "before")
    inherited = store._links.mine().connection
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            start(store, f"busy-{n}")

    thread = threading.Thread(target=busy)
    thread.start()

    def use(n: int) -> None:
        assert store._links.mine().connection is not inherited
        start(store, f"child-{n}")
        assert look(store, "before").id == "before"
        store.wait(store.mark(), 0.01)
        store.close()

    codes = [child(lambda n=n: use(n)) for n in range(10)]  # type: ignore[misc]
    stop.set()
    thread.join(PATIENCE)
    assert codes == [0] * 10
    assert store._links.mine().connection is inherited
    assert all(store.instance(f"child-{n}") for n in range(10))
    with sqlite3.connect(store._path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


FORK = """
import os, sys
from durable.stores import open_store
from durable.testing.store_contract.base import start
store = open_store("sqlite:///" + sys.argv[1])
store.open()
start(store, "before")
pid = os.fork()
if pid:
    # The child outlives this connection, and ends in the ordinary way.
    store.close()
    print("closed", flush=True)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stdin.readline()
sys.exit(0)
"""


def test_the_end_of_a_child_harms_nobody(path: Path) -> None:
    """It must not tidy up, with its inherited connection, a log that others write."""
    process = python(FORK, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "closed\n"
    writer = SqliteStore(path)
    start(writer, "after")
    ended(process, "go\n")
    start(writer, "later")
    other = SqliteStore(path)
    assert all(other.instance(id) for id in ("before", "after", "later"))
    writer.close()
    other.close()


# -- waking -----------------------------------------------------------------------------

SEND = """
import sys
from durable.stores import open_store
from durable.testing.store_contract.base import send
store = open_store("sqlite:///" + sys.argv[1])
for line in sys.stdin:
    send(store, line.strip())
    print("sent", flush=True)
"""


def test_another_process_wakes_who_waits(store: SqliteStore, path: Path) -> None:
    start(store)
    process = python(SEND, path)
    assert process.stdin is not None
    assert process.stdout is not None
    for n in range(5):
        mark = store.mark()
        woken = threading.Event()

        def wait(mark: int = mark, woken: threading.Event = woken) -> None:
            store.wait(mark, 10 * PATIENCE)
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
        process.stdin.write(f"m-{n}\n")
        process.stdin.flush()
        assert woken.wait(PATIENCE)
        assert process.stdout.readline() == "sent\n"
    ended(process)


def test_a_change_between_mark_and_wait_is_seen(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    start(other)
    store.wait(store.mark(), 0)
    mark = store.mark()
    send(other)
    store.wait(mark, 10 * PATIENCE)  # nobody was watching
    other.close()


def test_the_watching_thread_ends_with_the_store(store: SqliteStore) -> None:
    def watching() -> list[str]:
        return [t.name for t in threading.enumerate() if t is store._watch._thread]

    store.wait(store.mark(), 0.001)
    assert watching() == ["durable-sqlite-watch"]
    store.close()
    assert watching() == []


# -- errors -----------------------------------------------------------------------------


class Broken(sqlite3.OperationalError):
    """An error as the driver makes it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"something like {name}")
        self.sqlite_errorname = name
        self.sqlite_errorcode = 1


@pytest.mark.parametrize("name", [name for name in SQLITE if name.startswith("SQLITE_")])
def test_each_code_and_its_extensions_have_a_class(name: str) -> None:
    errors = DIALECT.errors
    assert errors.kind(Broken(name)) is SQLITE[name]
    assert errors.kind(Broken(f"{name}_SOMETHING_MORE")) is SQLITE[name]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Broken("SQLITE_OF_TOMORROW"), Kind.FATAL),
        (sqlite3.OperationalError("without a name"), Kind.FATAL),
        (OverflowError(), Kind.POISON),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), Kind.POISON),
        (sqlite3.ProgrammingError("type 'object' is not supported"), Kind.POISON),
        (MemoryError(), Kind.LATER),
    ],
    ids=repr,
)
def test_other_errors_have_a_class(error: BaseException, kind: Kind) -> None:
    assert DIALECT.errors.kind(error) is kind


def test_every_class_has_an_action() -> None:
    assert set(ACTIONS) == set(Kind)


class Failing:
    """A cursor that fails at a statement, some times."""

    def __init__(self, cursor: sqlite3.Cursor, at: str, error: BaseException, times: int) -> None:
        self.cursor, self.at, self.error, self.times = cursor, at, error, times

    def execute(self, text: str, params: Any = ()) -> sqlite3.Cursor:
        if self.times and text.startswith(self.at):
            self.times -= 1
            raise self.error
        return self.cursor.execute(text, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


def fail(store: SqliteStore, at: str, name: str, times: int = 10**9) -> None:
    link = store._links.mine()
    link.cursor = Failing(link.cursor, at, Broken(name), times)  # type: ignore[assignment]


@pytest.mark.parametrize("name", [name for name in SQLITE if name.startswith("SQLITE_")])
@pytest.mark.parametrize("at", ["BEGIN", "INSERT", "COMMIT"])
def test_each_error_ends_the_transaction_and_is_told_by_its_class(
    path: Path, name: str, at: str
) -> None:
    store = SqliteStore(path, busy_timeout=0.02)
    store.open()
    action = ACTIONS[SQLITE[name]]
    connection = store._links.mine().connection
    fail(store, at, name)
    with pytest.raises(StoreError if at != "COMMIT" else Exception) as raised:
        start(store)
    assert type(raised.value) is (action.at_commit if at == "COMMIT" else action.raises)
    assert f"sqlite:///{path}" in str(raised.value)
    assert (store._links.mine().connection is connection) is not action.drop
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM durable_instances").fetchone() == (0,)
    other.close()
    store.close()
    start(store)
    store.close()


def test_a_failed_commit_is_unknown(store: SqliteStore) -> None:
    fail(store, "COMMIT", "SQLITE_IOERR_FSYNC", 1)
    with pytest.raises(OutcomeUnknown, match="not known whether the commit took effect"):
        start(store)
    start(store, "next")


def test_what_may_be_repeated_is_repeated(store: SqliteStore) -> None:
    fail(store, "INSERT", "SQLITE_BUSY_SNAPSHOT", 3)
    start(store)
    assert look(store).id == "i-1"


def test_a_lock_that_is_held_too_long(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0.05)
    store.open()
    start(store)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"database is locked \(for 0\.05 seconds\)"):
            send(store)
        assert look(store).id == "i-1"  # readers do not wait
        other.execute("ROLLBACK")
    other.close()
    assert send(store) is Sent.SENT
    store.close()


def test_a_full_disk_is_for_later(store: SqliteStore) -> None:
    uid = start(store)
    link = store._links.mine()
    [pages] = link.cursor.execute("PRAGMA page_count").fetchone()
    link.cursor.execute(f"PRAGMA max_page_count = {pages + 5}").fetchall()
    with pytest.raises(Unavailable, match="full"):
        store.send([a_message(message_id="m-1"), a_message(message_id="m-2", event=b"x" * 10**6)])
    assert inbox(store, uid) == []
    link.cursor.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert send(store) is Sent.SENT


@pytest.mark.parametrize(
    "changes",
    [{"version": 2**63}, {"id": "\ud800"}, {"args": {"no": "bytes"}}, {"args": None}],
    ids=ascii,
)
def test_data_that_cannot_be_stored(store: SqliteStore, changes: dict[str, Any]) -> None:
    fields = {"id": "bad", **changes}
    bad = an_instance(store, **fields)
    with pytest.raises(Poison):
        store.create([an_instance(store, "good"), bad], "raise")
    assert store.instance("good") is None
    start(store, "good")


def test_an_interruption_ends_the_transaction(store: SqliteStore) -> None:
    def interrupted(tx: Any) -> None:
        tx.raw("DELETE FROM durable_instances")
        raise KeyboardInterrupt

    start(store)
    with pytest.raises(KeyboardInterrupt):
        store._write(interrupted)
    assert look(store).id == "i-1"
    start(store, "next")


# -- addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "names no file: write sqlite:///orders.db"),
        ("sqlite:///", "names no file"),
        ("sqlite://x.db", r"three slashes \(sqlite:///x.db\)"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite3:///x.db", r"did you mean 'sqlite'\?"),
        ("oracle://u:secret@h/d", "there are memory:// or sqlite://"),
        ("x.db", "'x.db' is not the address of a store"),
        ("", "not the address"),
        ("u:secret@h", "not the address"),
        ("sqlite:///x.db?prefx=a", r"no option 'prefx' \(did you mean 'prefix'\?\); it has"),
        ("sqlite:///x.db?prefix=a-b", "a prefix begins with"),
        ("sqlite:///x.db?prefix=", "a prefix begins with"),
        ("sqlite:///x.db?prefix=" + "a" * 32, "a prefix begins with"),
        ("sqlite:///x.db?prefix=1a", "a prefix begins with"),
        ("sqlite:///x.db?synchronous=off", "full or normal"),
        ("sqlite:///x.db?busy_timeout=soon", "a number of seconds"),
        ("sqlite:///x.db?busy_timeout=-1", "a number of seconds"),
        ("sqlite:///x.db?busy_timeout=nan", "a number of seconds"),
        ("sqlite:///x.db?max_inbox=0", "from 1 on"),
        ("memory://?prefix=a", "no option 'prefix'"),
    ],
)
def test_wrong_addresses(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


def test_options_by_address_and_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a%20b.db?busy_timeout=2.5&synchronous=normal&prefix=shop_"
    store = open_store(url, max_inbox=7)
    assert isinstance(store, SqliteStore)
    assert (store._patience, store._syncs, store.max_inbox) == (2.5, False, 7)
    assert store.models.names["tasks"] == '"shop_tasks"'
    store.open()
    assert (tmp_path / "a b.db").exists()
    store.close()
    with pytest.raises(UsageError, match="no option 'timeout'"):
        open_store("sqlite:///x.db", timeout=1)


def test_memory_stores_by_name() -> None:
    one, same, other = (open_store(f"memory://{name}") for name in ("one", "one", "two"))
    assert one is same
    assert one is not other
    assert one.url == "memory://one"
    assert isinstance(open_store("memory://"), MemoryStore)
    assert open_store("memory://") is not open_store("memory://")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:secret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:secret@h/d?x=1", "mysql://u:***@h/d?x=1"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("mysql://u:se@cr/et@h/d", "mysql://u:***@h/d"),
        ("mysql://u:se?cret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:se@c?ret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:a:secret@h/d", "mysql://u:***@h/d"),
        ("mysql://h/d?user=u&password=secret&x=1", "mysql://h/d?user=u&password=***&x=1"),
        ("sqlite:///a@b/x:y.db", "sqlite:///a@b/x:y.db"),
        ("u:secret@h", "u:***@h"),
        ("nothing", "nothing"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_only_the_backend_asked_for_is_loaded() -> None:
    code = (
        "import sys; from durable.stores import open_store; open_store('memory://');"
        " print([name for name in ('peewee', 'sqlite3') if name in sys.modules])"
    )
    assert ended(python(code)) == "[]\n"


def test_a_listing_by_a_common_and_by_a_rare_prefix(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(store, *(f"i-{n}" for n in range(20)), "j-1", "\U0010ffff", "\ud7ff")
    for few in (sql_reads.FEW, 3):
        monkeypatch.setattr(sql_reads, "FEW", few)
        for prefix, count in (("i-", 20), ("j", 1), ("k", 0), ("\U0010ffff", 1), ("\ud7ff", 1)):
            assert len(store.instances(Filter(prefix=prefix)).rows) == count


def test_status_counts_come_from_an_index(store: SqliteStore) -> None:
    a_finished(store, "done")
    start(store, "new")
    counts = store.stats().instances
    assert {status: n for status, n in counts.items() if n} == {"completed": 1, "pending": 1}
    assert set(counts) == {status.value for status in Status}
