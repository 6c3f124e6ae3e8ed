"""What tests of durable programs, and of stores, are made of.

`replay` checks recorded histories against today's code.  `StoreContract` is the conformance
suite of the store interface.  Each is loaded when it is first asked for: the suite needs
pytest, and nothing else here does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable.testing.replaying import replay
    from durable.testing.store_contract import StoreContract

__all__ = ["StoreContract", "replay"]

_PLACES = {
    "StoreContract": "durable.testing.store_contract",
    "replay": "durable.testing.replaying",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
