"""Every test of the engine runs on each store, with a warm cache and without any."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_kit import Engine, file_url

_closing: list[Engine] = []


@pytest.fixture(params=["memory", "memory-replay", "sqlite", "sqlite-replay"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind = str(request.param)
    url = file_url(tmp_path) if kind.startswith("sqlite") else "memory://"
    made = Engine(url, 0 if kind.endswith("replay") else 10_000)
    yield made
    made.stop()
    _closing.append(made)


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return file_url(tmp_path) if request.param == "sqlite" else "memory://"


@pytest.fixture(scope="session", autouse=True)
def _close_stores() -> Iterator[None]:
    yield
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda engine: engine.client.close(), _closing))
