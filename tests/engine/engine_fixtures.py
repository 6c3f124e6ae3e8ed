"""Every test of the engine runs on each store, with a warm cache and without any."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_kit import Engine
from store_table import EVERYTHING, fresh_url, stores_of, ways_of

CACHES = {"warm": 10_000, "replay": 0}

# Closing a store may take half a second, and no test need wait for it.
_closing = ThreadPoolExecutor(16)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On which stores a test runs that asks for an `engine`, or for a `store_url`."""
    stores = stores_of(metafunc.module.__name__, everything=EVERYTHING)
    if "engine" in metafunc.fixturenames:
        ways = ways_of(metafunc.function.__name__, list(CACHES), stores, everything=EVERYTHING)
        metafunc.parametrize("engine", list(ways), indirect=True, ids="-".join)
    if "store_url" in metafunc.fixturenames:
        metafunc.parametrize("store_url", stores, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    store, cache = request.param
    made = Engine(fresh_url(store, tmp_path), CACHES[cache])
    yield made
    made.stop()
    _closing.submit(made.client.close)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_url(request.param, tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _close_stores() -> Iterator[None]:
    yield
    _closing.shutdown()
