"""What a client can do that changes something, one thing for each verb of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from campaign_flows import failing, mailed, patient
from campaign_points import Fault, Points
from campaign_worker import WARM, prepare, warm

from durable import Client, Status
from durable.errors import InstanceFinished, InstanceNotFound, WrongStatus
from durable.model import Instance, WorkerInfo
from durable.store import Store
from durable.stores import open_store

NOBODY = WorkerInfo("", "", "", 0, "", ("nobodies",), 1, (), (), 0, 0)
"""Who looks for what no worker knows."""


@dataclass(frozen=True)
class Action:
    """begin: what there must be before; with a worker, if it needs one. call: the thing itself,
    given a client, an id, and the folder of tokens. happened: how often it has."""

    verb: str
    begin: Callable[[Client, str], object]
    call: Callable[[Client, str, Path], object]
    happened: Callable[[Store, str], int]
    needs_worker: bool = False


def _row(store: Store, id: str) -> Instance:
    found = store.instance(id)
    assert found is not None, f"{id} is gone"
    return found


def _start(client: Client, id: str) -> object:
    return client.start(patient.options(id=id, queue="clients", if_exists="use"), 1)


def _start_and_end(client: Client, id: str) -> None:
    _start(client, id)
    client.terminate(id)


def _start_and_pause(client: Client, id: str) -> None:
    _start(client, id)
    client.pause(id)


def _start_and_block(client: Client, id: str) -> None:
    client.start_named("nobody", id=id, queue="nobodies")
    while _row(client.store, id).status is not Status.BLOCKED:
        client.store.block_unknown(NOBODY, 0)


def _purge(client: Client, id: str, tokens: Path) -> object:
    return client.purge(datetime.now(UTC) + timedelta(hours=1), "terminated")


def _is_gone(store: Store, id: str) -> int:
    return store.instance(id) is None


def _is(status: Status) -> Callable[[Store, str], int]:
    return lambda store, id: _row(store, id).status is status


ACTIONS = (
    Action(
        "create",
        lambda client, id: None,
        lambda client, id, _: _start(client, id),
        lambda store, id: not _is_gone(store, id),
    ),
    Action(
        "send",
        _start,
        lambda client, id, _: client.signal(id, "signal"),
        lambda store, id: len(store.inbox(_row(store, id).uid)),
    ),
    Action("terminate", _start, lambda c, id, _: c.terminate(id), _is(Status.TERMINATED)),
    Action("pause", _start, lambda c, id, _: c.pause(id), _is(Status.PAUSED)),
    Action("resume", _start_and_pause, lambda c, id, _: c.resume(id), _is(Status.PENDING)),
    Action(
        "unblock",
        _start_and_block,
        lambda client, id, _: client.retry(id),
        lambda store, id: _row(store, id).wake_at is not None,
    ),
    Action(
        "rerun",
        lambda client, id: client.start(failing.options(id=id, queue="clients")),
        lambda client, id, _: client.retry(id),
        lambda store, id: _row(store, id).run - 1,
        needs_worker=True,
    ),
    Action(
        "settle",
        lambda client, id: client.start(mailed.options(id=id, queue="clients"), id),
        lambda client, id, tokens: client.complete((tokens / id).read_text(), 7),
        lambda store, id: len(store.inbox(_row(store, id).uid)),
        needs_worker=True,
    ),
    Action("delete", _start_and_end, lambda c, id, _: c.delete(id), _is_gone),
    Action("purge", _start_and_end, _purge, _is_gone),
)


def call_again(action: Action, client: Client, id: str, tokens: Path) -> bool:
    """Do it once more; False if that is refused because it has been done."""
    try:
        action.call(client, id, tokens)
    except (InstanceFinished, InstanceNotFound, WrongStatus):
        return False
    return True


def _act(url: str, folder: Path, number: int, id: str, fault: Fault) -> None:
    prepare(folder)
    store = open_store(url)
    store.open()
    Points(store, (fault,), folder / f"{id}.reached")
    ACTIONS[number].call(Client(store), id, folder / "gates")


def act(url: str, folder: Path, action: Action, id: str, fault: Fault) -> int | None:
    """Do it in a process of its own, with a fault; gives its exit code."""
    warm()
    process = WARM.Process(target=_act, args=(url, folder, ACTIONS.index(action), id, fault))
    process.start()
    process.join(60)
    return process.exitcode
