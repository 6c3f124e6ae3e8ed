"""The process executor: what overruns is killed, and what kills its process is counted."""

from __future__ import annotations

import os
from pathlib import Path

import process_activities
from engine_kit import Engine, until


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_children_are_killed_counted_and_replaced(store_url: str, tmp_path: Path) -> None:
    engine = Engine(store_url, 10_000)
    activities = [
        process_activities.child_pid,
        process_activities.slow_once,
        process_activities.exits,
    ]
    worker = engine.work(
        [process_activities.in_children], activities, executor="process", activity_slots=1
    )
    try:
        handle = engine.start(process_activities.in_children, str(tmp_path))
        found = handle.result(timeout=60)
        assert found["pid"] != os.getpid()
        assert found["slow"] == 2
        assert found["exits"] == [1, 2]
        assert found["crashed"] == ["durable.errors.ActivityCrashed", 1]
        killed = int((tmp_path / "pid-1").read_text())
        until(lambda: _gone(killed), "the child that overran is killed")
        assert worker.stats()["activities_overdue"] == 0
    finally:
        engine.stop()
        engine.client.close()
