"""What tests of durable programs, and of stores, are made of.

`WorkflowEnv` runs a workflow with virtual time and mocks; `explore` runs it under many orders,
crashes and failures; `replay` checks recorded histories against today's code.  `StoreContract`
is the conformance suite of the store interface; it needs pytest, and nothing else here does.
Each is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable.testing.env import WorkflowEnv
    from durable.testing.exploring import Explored, crash_everywhere, explore
    from durable.testing.mocks import Call, Mock
    from durable.testing.replaying import replay
    from durable.testing.store_contract import StoreContract

__all__ = [
    "Call",
    "Explored",
    "Mock",
    "StoreContract",
    "WorkflowEnv",
    "crash_everywhere",
    "explore",
    "replay",
]

_PLACES = {
    "Call": "durable.testing.mocks",
    "Explored": "durable.testing.exploring",
    "Mock": "durable.testing.mocks",
    "StoreContract": "durable.testing.store_contract",
    "WorkflowEnv": "durable.testing.env",
    "crash_everywhere": "durable.testing.exploring",
    "explore": "durable.testing.exploring",
    "replay": "durable.testing.replaying",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
