"""A client kills itself at each point of its protocol, on each store; another one repeats the
call.  What was done is known by the point: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_clients import ACTIONS, Action, act, call_again
from campaign_kit import CAMPAIGN_STORES, Processes, campaign
from campaign_points import CLIENT_VERBS, PLACES, Fault, has_transactions
from store_table import fresh_url

from durable import Client

TWICE = {"send"}
"""Repeated by somebody else it is another one."""


def points(with_transactions: bool) -> Iterator[tuple[Action, Fault]]:
    """Every point of a client's protocol."""
    for action in ACTIONS:
        for place in PLACES:
            if with_transactions or place != "within":
                yield action, Fault(action.verb, place)


def test_every_verb_of_a_client_is_tried() -> None:
    assert {action.verb for action in ACTIONS} == set(CLIENT_VERBS)


@pytest.mark.parametrize("store", CAMPAIGN_STORES)
def test_every_call_is_done_or_not(store: str, tmp_path: Path) -> None:
    url = fresh_url(store, tmp_path)
    with campaign("client-points", store) as run, Processes(tmp_path, url) as processes:
        client = Client(url)
        tried = list(points(has_transactions(client.store)))
        wrong = [line for one in tried for line in crash(processes, client, *one)]
        run.figures |= {"points": len(tried), "wrong": len(wrong)}
        assert not wrong, "\n".join(wrong)
        client.close()


def crash(processes: Processes, client: Client, action: Action, fault: Fault) -> Iterator[str]:
    """Let a client come to a point, and another one repeat its call; gives what is wrong."""
    id = str(fault)
    action.begin(client, id)
    if action.needs_worker:
        worker = processes.worker(lease=30, slots=2, queues=["clients"], burst=True)
        assert processes.reap(worker) == 0
    code = act(processes.url, processes.folder, action, id, fault)
    reached = processes.folder / f"{id}.reached"
    assert reached.exists(), f"{fault} was not reached: {code}"
    lives = fault.place == "fails"
    if code != (0 if lives else -9):
        yield f"{fault}: the client ended with {code}"
    done = fault.place in ("after", "fails")
    if action.happened(client.store, id) != done:
        yield f"{fault}: it happened {action.happened(client.store, id)} times"
    if not lives:
        again = call_again(action, client, id, processes.gates)
        if not (again or done):
            yield f"{fault}: the call was refused, and had not been done"
        expected = 1 + (done and action.verb in TWICE)
        if action.happened(client.store, id) != expected:
            yield f"{fault}: in the end it happened {action.happened(client.store, id)} times"
