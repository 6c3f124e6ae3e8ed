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
* A change of the contract starts here.
"""

from __future__ import annotations

import pytest

_PARTS = ("base", "claims", "clients", "commits", "messages", "races", "reads", "sends", "tasks")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in (*_PARTS, "waits", "workers")))

from durable.testing.store_contract.claims import Claims  # noqa: E402 (after the rewriting)
from durable.testing.store_contract.clients import Clients  # noqa: E402
from durable.testing.store_contract.commits import Commits  # noqa: E402
from durable.testing.store_contract.messages import Messages  # noqa: E402
from durable.testing.store_contract.races import Races  # noqa: E402
from durable.testing.store_contract.reads import Reads  # noqa: E402
from durable.testing.store_contract.sends import Sends  # noqa: E402
from durable.testing.store_contract.tasks import Tasks  # noqa: E402
from durable.testing.store_contract.waits import Waits  # noqa: E402
from durable.testing.store_contract.workers import Workers  # noqa: E402

__all__ = ["StoreContract"]


class StoreContract(Clients, Claims, Commits, Sends, Messages, Tasks, Workers, Reads, Waits, Races):
    """Every promise of the contract; subclass it and give the hooks of `Base`."""
