"""The pytest plugin: the fixtures `durable_env` and `durable_store`, their marker and options.

It is loaded with every pytest of an environment that has durable: it imports nothing but pytest,
until one of its fixtures is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from durable.store import Store
    from durable.testing.env import WorkflowEnv
    from durable.testing.hash_seeds import OtherOrders

__all__ = ["durable_env", "durable_store"]

ENVS = pytest.StashKey[list["WorkflowEnv"]]()
ORDERS = pytest.StashKey["OtherOrders"]()

DEFAULT_SEEDS = 2
SEEDS = "replay what durable_env has run in N processes in which sets have another order"

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
        help=f"{SEEDS}: 0, or at least 2 (default: 2, and without workflows of the tests' modules)",
    )
    parser.addini("durable_hash_seeds", SEEDS)
    parser.addini("durable_store", store, default="memory://")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    asked = _asked_seeds(config)
    if asked is not None and (asked == 1 or asked < 0):
        raise pytest.UsageError(
            f"--durable-hash-seeds {asked}: 0, or at least 2, which are compared with each other"
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    if (orders := config.stash.get(ORDERS, None)) is not None:
        orders.close()


def _asked_seeds(config: pytest.Config) -> int | None:
    """How many processes somebody has asked for."""
    asked: int | None = config.getoption("--durable-hash-seeds")
    if asked is None and (text := config.getini("durable_hash_seeds")):
        try:
            asked = int(text)
        except ValueError:
            raise pytest.UsageError(f"durable_hash_seeds = {text}: a number") from None
    return asked


def _orders(config: pytest.Config) -> OtherOrders:
    from durable.testing.hash_seeds import OtherOrders

    if ORDERS not in config.stash:
        asked = _asked_seeds(config)
        count = DEFAULT_SEEDS if asked is None else asked
        config.stash[ORDERS] = OtherOrders(count, strict=asked is not None)
    return config.stash[ORDERS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """What a test has not used of its mocks is a failure of the test, if it has no other; and so
    is a workflow that depends on the order of a set."""
    __tracebackhide__ = True
    result = yield
    envs = item.stash.get(ENVS, [])
    for env in envs:
        env.check_mocks()
    if envs:
        # What workers import can be imported there; the module of a test need not.
        own = {getattr(getattr(item, "module", None), "__name__", "")}
        _orders(item.config).check(envs, own if _asked_seeds(item.config) is None else ())
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
        marked.update(_checked(marker, WorkflowEnv))
    envs = request.node.stash.setdefault(ENVS, [])

    def make(flow: Any = None, **options: Any) -> WorkflowEnv:
        env = WorkflowEnv(flow, **{**marked, **options})
        envs.append(env)
        return env

    yield make
    for env in envs:
        env.close()


def _checked(marker: pytest.Mark, env: type[WorkflowEnv]) -> Mapping[str, Any]:
    """The options of a marker."""
    import inspect

    options = [*inspect.signature(env).parameters][1:]
    wrong = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in options)]
    if wrong:
        raise pytest.UsageError(
            f"@pytest.mark.durable takes options of WorkflowEnv, by name, and not {wrong[0]}: "
            f"{', '.join(options)}"
        )
    return marker.kwargs


@pytest.fixture
def durable_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store, open: in memory, or where ``--durable-store`` (or ``durable_store`` in the
    ini file) says. What the test has written there is removed at its end."""
    from durable.testing.scratch import scratch_store

    url = request.config.getoption("--durable-store") or request.config.getini("durable_store")
    with scratch_store(url) as store:
        yield store
