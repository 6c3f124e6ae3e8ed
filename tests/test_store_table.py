"""Every store has its line in the table, and gives new stores; and what runs on which."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_table import LOCAL, SERVERS, STORES, fresh_url, ways_of

from durable.stores import _BACKENDS, open_store
from durable.testing.store_contract.base import an_instance


def test_every_store_has_a_line() -> None:
    """``rediss`` is ``redis``, but for its encryption; ``mariadb`` is ``mysql``."""
    others = {"rediss", "mariadb"}
    assert {name.replace("-", "+") for name in STORES} == _BACKENDS.keys() - others


@pytest.mark.parametrize("name", STORES)
def test_a_fresh_store_is_new_and_of_that_kind(name: str, tmp_path: Path) -> None:
    urls = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        urls.append(fresh_url(name, folder))
        store = open_store(urls[-1])
        store.open()
        assert store.instance("a") is None
        store.create([an_instance(store, "a")], "raise")
        store.close()
    assert {url.partition("://")[0] for url in urls} == {name.replace("-", "+")}


def test_a_server_runs_each_test_in_one_way_and_all_ways_in_turn() -> None:
    ways = ["warm", "replay"]
    for server in SERVERS:
        chosen = [
            way
            for number in range(50)
            for store, way in ways_of(f"test_{number}", ways, everything=False)
            if store == server
        ]
        assert len(chosen) == 50
        assert 10 < chosen.count("warm") < 40


def test_what_needs_no_server_runs_in_all_ways_always() -> None:
    ways = ["warm", "replay"]
    everywhere = {(store, way) for store in STORES for way in ways}
    local = {(store, way) for store in LOCAL for way in ways}
    assert local <= set(ways_of("test", ways, everything=False)) < everywhere
    assert set(ways_of("test", ways, everything=True)) == everywhere
