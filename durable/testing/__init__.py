"""What tests of durable programs, and of stores, are made of.

`StoreContract` is the conformance suite of the store interface.  It is loaded when it is
first asked for: it needs pytest, and nothing else here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable.testing.store_contract import StoreContract

__all__ = ["StoreContract"]


def __getattr__(name: str) -> object:
    if name == "StoreContract":
        from durable.testing.store_contract import StoreContract

        return StoreContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
