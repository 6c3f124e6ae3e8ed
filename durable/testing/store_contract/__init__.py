"""The conformance suite of the store interface: what `durable.store` promises, as tests.

A store's test file is a factory and a subclass::

    class TestMine(StoreContract):
        def make_store(self, tmp_path: Path) -> Store:
            return MyStore(tmp_path / "data")

        def another(self, store: Store, tmp_path: Path) -> Store:
            return MyStore(tmp_path / "data")

        def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
            return MyStore(tmp_path / "small", max_inbox=max_inbox)

Rules of the suite
------------------
* Only verbs of the contract are used, and only the store's clock: moments are relative to
  ``store.now()``, what is to be expired is born expired.  Nothing sleeps; what waits, waits
  for a signal and has `PATIENCE` seconds for it.
* What the contract leaves open is not tested.
* A random walk over all verbs is compared with the memory store, the reference.
* A change of the contract starts here.
"""

from __future__ import annotations

import pytest

_PARTS = (
    "base",
    "children",
    "claims",
    "clients",
    "closes",
    "commits",
    "messages",
    "outside",
    "pauses",
    "races",
    "reads",
    "refusals",
    "reruns",
    "runs",
    "sends",
    "suite",
    "tasks",
    "waits",
    "walks",
    "workers",
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

# Imported after that line, so that a failed assert shows its values.
from durable.testing.store_contract.suite import StoreContract  # noqa: E402

__all__ = ["StoreContract"]
