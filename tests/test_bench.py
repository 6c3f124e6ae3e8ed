"""The bench runs, at tiny sizes, and says what it promises. Never how fast."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from store_table import SERVERS, fresh_url

from durable.bench import workflows
from durable.bench.cli import SCENARIOS, bench
from durable.bench.measuring import percentiles
from durable.bench.places import Places
from durable.bench.recording import Call, RecordingStore, ceiling
from durable.bench.scenarios import Sizes, idle, latency, processes
from durable.client import Client
from durable.errors import UsageError
from durable.stores import open_store
from durable.worker import Worker

RATES = {
    "instances", "activities", "seconds", "workflows_per_s", "activities_per_s", "commits",
    "steps", "steps_per_commit", "cpu_s", "cpu_ms_per_step", "gc_s", "peak_rss_mb",
    "start_to_finish_p50_ms", "start_to_finish_p95_ms", "start_to_finish_p99_ms",
    "bytes_per_activity", "ceiling_per_s", "ceiling_ratio", "ceiling_commits_only_per_s",
}  # fmt: skip
KEYS = {
    "sequential": RATES,
    "fan-out": RATES | {"us_per_activity_small", "us_per_activity_large", "ratio"},
    "long": RATES | {"us_per_activity_first", "us_per_activity_last", "ratio"},
    "backlog": {"claim_ms_small", "claim_ms_large", "ratio"},
    "replay": {"histories", "events_per_history", "events_per_s"},
    "processes": {"activities_per_s_of_one", "activities_per_s_of_two", "ratio"},
}
TINY = {
    "sequential": ["-n", "20", "-k", "2", "--payload", "10", "-t", "2"],
    "fan-out": ["-k", "50", "--in-flight", "20"],
    "long": ["-k", "12"],
    "backlog": ["-n", "600"],
    "replay": ["-n", "2", "-k", "5"],
    "processes": ["-n", "10", "-k", "1", "-t", "2"],
}


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_url(request.param, tmp_path)


@pytest.mark.parametrize("name", TINY)
def test_scenario(name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable.bench.reading.REPLAY_TIME", 0.05)
    args = ["--scenario", name, "--store", url, "-o", "json", *TINY[name]]
    result = CliRunner().invoke(bench, args, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["machine"]["durability"] == "durable"
    assert re.match(r"(SQLite|PostgreSQL|MariaDB|MySQL|Redis) \d", found["machine"]["server"])
    row = found["scenarios"][name]
    # What is due in several partitions at once may come in another order the next time.
    open_order = "cluster" in url and "ceiling" in row
    assert {key for key in KEYS[name] if not (open_order and "ceiling" in key)} <= row.keys()
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_table_has_the_keys_of_json() -> None:
    args = ["--store", "memory://", "-n", "5"]
    table = CliRunner().invoke(bench, args, catch_exceptions=False).stdout
    both = CliRunner().invoke(bench, [*args, "-o", "json"], catch_exceptions=False).stdout
    found: dict[str, Any] = json.loads(both)
    for key in (*found["machine"], *found["scenarios"]["sequential"]):
        assert f"  {key} " in table


def test_latency_and_idle(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def spy(words: list[str], **options: Any) -> Any:
        commands.append(words)
        return popen(words, **options)

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", spy)
    row = latency(Places(url), Sizes(instances=2))
    [words] = commands  # which everybody can read, so without the address and its password
    assert not [word for word in words if "://" in word]
    assert {"same_process_p50_ms", "other_process_p99_ms"} <= row.keys()
    assert "cpu_percent_of_a_core" in idle(Places("memory://"), Sizes(idle=0.01))


def test_other_processes_need_a_store_that_they_see() -> None:
    with pytest.raises(UsageError, match="do not see what is in memory"):
        processes(Places("memory://"), Sizes())


def test_nothing_is_left(url: str, tmp_path: Path) -> None:
    with Places(url).fresh() as (store, place):
        assert store.schema()[0] > 0
    assert list(tmp_path.iterdir()) == []
    if not place.startswith("sqlite"):
        left = open_store(place)
        assert left.schema()[0] == 0
        left.close()


def test_every_scenario_is_tested() -> None:
    assert TINY.keys() | {"latency", "idle"} == SCENARIOS.keys()


def _recorded(places: Places) -> list[Call]:
    with places.fresh() as (store, _):
        recorder = RecordingStore(store)
        worker = Worker(recorder.store, [workflows], activity_slots=4)
        worker.start()
        try:
            Client(recorder.store).start_many([(workflows.chain, 2, "")] * 10)
            assert recorder.wait_finished(10, 30)
        finally:
            worker.stop()
    assert recorder.commits()
    return recorder.calls


def test_the_ceiling_writes_what_the_run_wrote(url: str) -> None:
    if "cluster" in url:
        pytest.skip("what is due in several partitions at once has no order to be repeated")
    calls = _recorded(Places(url))
    with Places(url).fresh() as (store, _):
        limit = ceiling(calls, store)
        assert limit.problem == ""
        assert 0 < limit.commits < limit.all_writes
        assert store.stats().instances["completed"] == 10


def test_a_ceiling_that_went_another_way_says_so(url: str) -> None:
    calls = [call for call in _recorded(Places(url)) if call.verb != "claim"]
    with Places(url).fresh() as (store, _):
        assert "refused" in ceiling(calls, store).problem


def test_percentiles() -> None:
    values = [number / 1000 for number in range(100)]
    assert percentiles(values, "x") == {"x_p50_ms": 50.0, "x_p95_ms": 95.0, "x_p99_ms": 99.0}
    assert percentiles([], "x") == {}
