"""The pytest plugin, in pytest sessions of its own; and the stores that it makes.

The sessions are processes: inside this one they would find modules that other tests have imported
under the names of theirs, and drop those that they import first (pytester restores
``sys.modules``), so that later tests would meet a second copy of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from store_table import STORES, fresh_url

from durable import Client, Workflow, wait_signal, workflow
from durable.testing.scratch import scratch_store

pytest_plugins = ["pytester"]

LIMIT = 60

FLOWS = """
    import time
    import pytest
    from durable import activity, sleep, workflow

    @activity
    def charge(order_id):
        return f"r-{order_id}"

    @workflow
    def order(order_id):
        yield sleep(3600)
        return (yield charge.call(order_id))

    @workflow
    def careless():
        yield sleep(time.time() % 1)
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The plugin is loaded by name, installed or not; what was asked of this pytest is not asked
    of the others."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(flows=FLOWS)
    return pytester


def run(session: pytest.Pytester, test: str, *words: str) -> pytest.RunResult:
    session.makepyfile(test_flows="import pytest\nfrom flows import *\n\n" + test)
    words = ("-p", "durable.testing.plugin", "-p", "no:cacheprovider", *words)
    return session.runpytest_subprocess(*words, timeout=LIMIT)


# -- durable_env ------------------------------------------------------------------------------


def test_an_env(session: pytest.Pytester) -> None:
    test = """
def test_real(durable_env):
    assert durable_env(order, activities=[charge]).run("o-1") == "r-o-1"

def test_mocked(durable_env):
    env = durable_env(order)
    env.mock(charge, returns="mocked")
    assert env.run("o-1") == "mocked"
"""
    run(session, test).assert_outcomes(passed=2)


def test_a_mock_that_was_not_used_fails_the_test(session: pytest.Pytester) -> None:
    test = """
def test_unused(durable_env):
    env = durable_env(order)
    env.mock(charge, returns="mocked")
    env.start("o-1")

def test_that_fails_itself(durable_env):
    env = durable_env(order)
    env.mock(charge, returns="mocked")
    assert "its own" == "failure"
"""
    result = run(session, test)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*MockError: the mock of charge was never called*"])
    result.stdout.fnmatch_lines(["*assert 'its own' == 'failure'*"])
    result.stdout.fnmatch_lines(["FAILED *::test_that_fails_itself - AssertionError: *"])


def test_a_failure_points_to_the_test(session: pytest.Pytester) -> None:
    """What lies between the test and the mistake is of no interest."""
    test = """
def test_unmocked(durable_env):
    durable_env(order).run("o-1")

def test_call(durable_env):
    env = durable_env(order, activities=[charge])
    env.run("o-1")
    env.assert_called(charge, "o-2")

def test_stuck(durable_env):
    from durable import wait_signal, workflow
    @workflow
    def waiting():
        yield wait_signal("go")
    durable_env(waiting).run()
"""
    result = run(session, test, "--tb", "short")
    result.assert_outcomes(failed=3)
    result.stdout.no_fnmatch_line("*durable/testing/*.py*")


def test_envs_are_closed(session: pytest.Pytester) -> None:
    test = """
closed = []

def test_waits(monkeypatch, durable_env):
    from durable.testing import WorkflowEnv
    monkeypatch.setattr(WorkflowEnv, "close", lambda env: closed.append(env))
    for _ in range(2):
        durable_env(order).start("o-1")

def test_after():
    assert len(set(closed)) == 2
"""
    run(session, test).assert_outcomes(passed=2)


def test_the_marker(session: pytest.Pytester) -> None:
    test = """
from datetime import UTC, datetime

pytestmark = pytest.mark.durable(start_at=datetime(2030, 1, 1, tzinfo=UTC), strict=True)

@pytest.mark.durable(guards=False, strict=False)
def test_marked(durable_env):
    env = durable_env(careless)
    env.run()
    assert env.now.year == 2030
    assert durable_env(order, activities=[charge]).run("o-1") == "r-o-1"

def test_strict(durable_env):
    with pytest.raises(AssertionError, match="no mock answers"):
        durable_env(order, activities=[charge]).run("o-1")
    assert durable_env(order, activities=[charge], strict=False).run("o-1") == "r-o-1"
"""
    run(session, test, "--strict-markers").assert_outcomes(passed=2)


def test_guards(session: pytest.Pytester) -> None:
    test = """
def test_careless(durable_env):
    durable_env(careless).run()
"""
    result = run(session, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*flows.py:*workflow code calls time.time: use `now()`*"])
    run(session, test, "--durable-no-guards").assert_outcomes(passed=1)


def test_a_marker_that_is_wrong(session: pytest.Pytester) -> None:
    test = """
@pytest.mark.durable(guard=False)
def test_name(durable_env):
    durable_env(order)

@pytest.mark.durable("strict")
def test_place(durable_env):
    durable_env(order)
"""
    result = run(session, test)
    result.assert_outcomes(errors=2)
    text = "*UsageError: @pytest.mark.durable takes options of WorkflowEnv, by name, and not"
    result.stdout.fnmatch_lines([f"{text} guard: activities, *allow, *"])
    result.stdout.fnmatch_lines([f"{text} 'strict': *"])


# -- other orders of sets ---------------------------------------------------------------------

UNORDERED = """
    from durable import side_effect, sleep, workflow

    STEPS = 0

    @workflow
    def over_a_set(names):
        for name in set(names):
            yield side_effect(str.upper, name)
            if name < "n":
                yield sleep(1)

    @workflow
    def in_order(names):
        for name in sorted(set(names)):
            yield side_effect(str.upper, name)
            if name < "n":
                yield sleep(1)

    @workflow
    def parent(names):
        yield in_order.call(names)

    @workflow
    def listed(names):
        yield sleep(1)
        return list(set(names))

    @workflow
    def patched():
        for _ in range(STEPS):
            yield sleep(1)
        yield side_effect(int)
"""

ORDERS = """
import unordered
from durable import sleep, workflow
from unordered import *

LETTERS = [chr(97 + n) for n in range(26)]

def test_set(durable_env):
    durable_env(over_a_set).run(LETTERS)

def test_listed(durable_env):
    durable_env(listed).run(LETTERS)

def test_sorted(durable_env):
    durable_env(parent, workflows=[in_order]).run(LETTERS)

def test_patched(durable_env, monkeypatch):
    monkeypatch.setattr(unordered, "STEPS", 2)
    durable_env(patched).run()

@workflow
def own(names):
    for name in set(names):
        yield sleep(1) if name < "n" else side_effect(str.upper, name)

def test_own(durable_env):
    durable_env(own).run(LETTERS)

def test_local(durable_env):
    @workflow
    def local():
        yield sleep(1)

    durable_env(local).run()
"""


@pytest.fixture
def unordered(session: pytest.Pytester) -> pytest.Pytester:
    session.makepyfile(unordered=UNORDERED)
    return session


def test_other_orders_of_sets(unordered: pytest.Pytester) -> None:
    result = run(unordered, ORDERS)
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(
        ["*NonDeterminismError: with PYTHONHASHSEED=[12]: *unordered.py:*in over_a_set*"]
    )
    result.stdout.fnmatch_lines(
        ["*PYTHONHASHSEED=[12]: listed returned *'a'*, and *'a'* when its history was replayed*"]
    )


def test_how_many_other_orders_of_sets(unordered: pytest.Pytester) -> None:
    run(unordered, ORDERS, "--durable-hash-seeds", "0").assert_outcomes(passed=6)
    asked = run(unordered, ORDERS, "--durable-hash-seeds", "3")
    asked.assert_outcomes(passed=3, failed=3)  # those of the tests' own module, too
    unordered.makeini("[pytest]\ndurable_hash_seeds = 0")
    run(unordered, ORDERS).assert_outcomes(passed=6)
    for wrong in ("1", "-1"):
        result = run(unordered, ORDERS, "--durable-hash-seeds", wrong)
        result.stderr.fnmatch_lines([f"*--durable-hash-seeds {wrong}: 0, or at least 2*"])


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (
            "raise ValueError('not here')",
            "*KitError: no replay*=1: unordered *ValueError: not here",
        ),
        ("os._exit(3)", "*KitError: no replay*: the process has ended, with 3"),
    ],
)
def test_what_another_process_cannot_import(
    unordered: pytest.Pytester, action: str, says: str
) -> None:
    once = f"import os\nif os.environ.get('PYTHONHASHSEED') == '1':\n    {action}\n"
    unordered.makepyfile(unordered=once + dedent(UNORDERED))
    run(unordered, ORDERS).assert_outcomes(passed=6)
    result = run(unordered, ORDERS, "--durable-hash-seeds", "2", "-k", "sorted")
    result.assert_outcomes(failed=1, deselected=5)
    result.stdout.fnmatch_lines([says])


# -- durable_store ------------------------------------------------------------------------------

STORED = """
from durable import Client

@pytest.mark.parametrize("_", range(2))
def test_empty(durable_store, _):
    client = Client(durable_store)
    assert client.count() == 0
    client.start(order.options(id="o-1"), "o-1")
    assert client.count() == 1
    print("it is", durable_store.url)
"""


def test_a_store_in_memory(session: pytest.Pytester) -> None:
    result = run(session, STORED, "-rP")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["it is memory://*"])


def test_a_store_by_option_and_by_ini(session: pytest.Pytester) -> None:
    result = run(session, STORED, "-rP", "--durable-store", "sqlite:///one.db")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["it is sqlite:///*one.db*"])
    session.makeini("[pytest]\ndurable_store = sqlite:///two.db")
    result = run(session, STORED, "-rP")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["it is sqlite:///*two.db*"])


def test_an_address_that_is_wrong(session: pytest.Pytester) -> None:
    result = run(session, STORED, "--durable-store", "sqlit:///one.db")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*did you mean 'sqlite'*"])


@workflow
def waiting() -> Workflow[None]:
    yield wait_signal("go")


@pytest.mark.parametrize("store", STORES)
def test_nothing_is_left(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * count)
    url = fresh_url(store, tmp_path)
    for _ in range(2):
        with scratch_store(url) as made:
            client = Client(made)
            assert client.count() == 0
            client.start(waiting.options(id="x"))
            assert client.count() == 1


# -- what it costs ------------------------------------------------------------------------------


def test_it_imports_nothing_heavy() -> None:
    program = """
import sys, pytest
before = set(sys.modules)
import durable.testing.plugin
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["durable", "durable.testing", "durable.testing.plugin"]


def test_the_help(session: pytest.Pytester) -> None:
    result = run(session, "", "--help")
    result.stdout.fnmatch_lines(["*--durable-store=URL*", "*--durable-no-guards*"])
    result = run(session, "", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.durable(?*options): options of WorkflowEnv*"])
    result = run(session, "", "--fixtures")
    result.stdout.fnmatch_lines(["durable_env*", "durable_store*"])
