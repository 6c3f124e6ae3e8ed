"""The parts of the suite, put together."""

from __future__ import annotations

from durable.testing.store_contract.children import Children
from durable.testing.store_contract.claims import Claims
from durable.testing.store_contract.clients import Clients
from durable.testing.store_contract.closes import Closes
from durable.testing.store_contract.commits import Commits
from durable.testing.store_contract.messages import Messages
from durable.testing.store_contract.outside import Outside
from durable.testing.store_contract.pauses import Pauses
from durable.testing.store_contract.purges import Purges
from durable.testing.store_contract.races import Races
from durable.testing.store_contract.reads import Reads
from durable.testing.store_contract.refusals import Refusals
from durable.testing.store_contract.reruns import Reruns
from durable.testing.store_contract.runs import Runs
from durable.testing.store_contract.sends import Sends
from durable.testing.store_contract.tasks import Tasks
from durable.testing.store_contract.waits import Waits
from durable.testing.store_contract.walks import Walks
from durable.testing.store_contract.workers import Workers

__all__ = ["StoreContract"]


class StoreContract(
    Clients,
    Claims,
    Commits,
    Sends,
    Messages,
    Tasks,
    Outside,
    Workers,
    Refusals,
    Pauses,
    Children,
    Closes,
    Runs,
    Reruns,
    Purges,
    Reads,
    Waits,
    Races,
    Walks,
):
    """Every promise of the contract; subclass it and give the hooks of `Base`."""
