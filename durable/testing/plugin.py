"""The pytest plugin: the fixtures `durable_env` and `durable_store`, their marker and options.

It is loaded with every pytest of an environment that has durable: it imports nothing but pytest,
until one of its fixtures is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from durable.store import Store
    from durable.testing.env import WorkflowEnv

__all__ = ["durable_env", "durable_store"]

ENVS = pytest.StashKey[list["WorkflowEnv"]]()

MARKER = (
    "durable(**options): options of WorkflowEnv for the durable_env of this test: start_at,"
    " strict, guards, …"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("durable", "durable workflows")
    store = "the store of durable_store: its address; each test has tables of its own there"
    group.addoption("--durable-store", metavar="URL", help=f"{store} (default: memory://)")
    group.addoption(
        "--durable-no-guards",
        action="store_true",
        help="let workflow code under durable_env call clocks, chance and I/O",
    )
    group.addoption(
        "--durable-hash-seeds",
        metavar="N",
        type=int,
        default=0,
        help="replay what durable_env has run in N processes in which sets have another order",
    )
    parser.addini("durable_store", store, default="memory://")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """What a test has not used of its mocks is a failure of the test, if it has no other; and so
    is a workflow that depends on the order of a set."""
    result = yield
    envs = item.stash.get(ENVS, [])
    for env in envs:
        env.check_mocks()
    if envs and (count := item.config.getoption("--durable-hash-seeds")):
        from durable.testing.hash_seeds import check_hash_seeds

        check_hash_seeds(envs, count)
    return result


@pytest.fixture
def durable_env(request: pytest.FixtureRequest) -> Iterator[Callable[..., WorkflowEnv]]:
    """Makes a `durable.testing.WorkflowEnv`: ``durable_env(order, activities=[ship])``.

    It is closed at the end of the test, which fails if a mock was not used. Options for all of
    a test, or a class, stand in the marker: ``@pytest.mark.durable(strict=True)``.
    """
    from durable.testing.env import WorkflowEnv

    marked: dict[str, Any] = {"guards": not request.config.getoption("--durable-no-guards")}
    for marker in reversed(list(request.node.iter_markers("durable"))):
        marked.update(marker.kwargs)
    envs = request.node.stash.setdefault(ENVS, [])

    def make(flow: Any = None, **options: Any) -> WorkflowEnv:
        env = WorkflowEnv(flow, **{**marked, **options})
        envs.append(env)
        return env

    yield make
    for env in envs:
        env.close()


@pytest.fixture
def durable_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store, open: in memory, or where ``--durable-store`` (or ``durable_store`` in the
    ini file) says. What the test has written there is removed at its end."""
    from durable.testing.scratch import scratch_store

    url = request.config.getoption("--durable-store") or request.config.getini("durable_store")
    with scratch_store(url) as store:
        yield store
