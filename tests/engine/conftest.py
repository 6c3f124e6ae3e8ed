"""Fixtures of the engine's tests."""

from engine_fixtures import (  # noqa: F401 — pytest finds fixtures by their names here
    _close_stores,
    engine,
    pytest_generate_tests,
    store_url,
)
