"""Migrations while workers and clients of the version before are at work: nobody stops, and
nothing is lost.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from campaign_checker import check
from campaign_kit import CAMPAIGN_STORES, Processes, campaign, finish, quick_or_long
from campaign_load import Load
from campaign_log import Log
from store_table import fresh_url

from durable import Client
from durable.stores import migrations, open_store
from durable.stores.migrations import WANTED
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Migration

WORKERS = 2
SLOTS = 4
LEASE = 5.0
BETWEEN = int(quick_or_long(20, 200))
"""Executions between two migrations, at least."""

CHANGES = (
    "ALTER TABLE {schema}{prefix}instances ADD COLUMN later INTEGER NOT NULL DEFAULT 7;",
    "CREATE INDEX {prefix}tasks_later ON {schema}{prefix}tasks (attempt, id);",
    "ALTER TABLE {schema}{prefix}tasks ADD COLUMN later INTEGER;",
    "UPDATE {schema}{prefix}tasks SET later = 1;",
    "ALTER TABLE {schema}{prefix}history ADD COLUMN later INTEGER;",
    "CREATE TABLE {schema}{prefix}later (n INTEGER); ALTER TABLE {schema}{prefix}inbox"
    " ADD COLUMN later INTEGER;",
)
"""What later versions may do to a schema, by the rules of `durable.stores.schema`."""

SQL_STORES = [name for name in CAMPAIGN_STORES if "redis" not in name]


@pytest.mark.parametrize("store", SQL_STORES)
def test_nobody_stops_for_a_migration(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_url(store, tmp_path)
    with campaign("migration-load", store) as run, Processes(tmp_path, url) as processes:
        client, log = Client(url), Log()
        load = Load(client.store, log, run.chance)
        workers = [processes.worker(lease=LEASE, slots=SLOTS) for _ in range(WORKERS)]
        newer = open_store(url)
        assert isinstance(newer, SqlStore)
        with load:
            for version, text in enumerate(CHANGES, WANTED + 1):
                processes.wait_for_more(BETWEEN)
                monkeypatch.setattr(migrations, "WANTED", version)
                known = (*newer.dialect.migrations, Migration(version, f"more {version}", text))
                newer.dialect = replace(newer.dialect, migrations=known)
                assert newer.migrate()
                assert newer.schema() == (version, version)
            assert [worker.poll() for worker in workers] == [None] * WORKERS
            processes.wait_for_more(BETWEEN)
        load.finish()
        finish(client)
        for worker in workers:
            processes.stop(worker)
        found = check(client, log, processes.ledger())
        run.count(log, found, len(CHANGES))
        newer.close()
        client.close()
