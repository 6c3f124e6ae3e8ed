"""The process executor: what overruns is killed, and what kills its process is counted."""

from __future__ import annotations

import os
from pathlib import Path

import process_activities as children
import pytest
from engine_kit import Engine, tasks_of, until

from durable.errors import WorkflowError


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_children_are_killed_counted_and_replaced(store_url: str, tmp_path: Path) -> None:
    engine = Engine(store_url, 10_000)
    activities = [children.child_pid, children.slow_once, children.exits]
    worker = engine.work([children.in_children], activities, executor="process", activity_slots=1)
    try:
        handle = engine.start(children.in_children, str(tmp_path))
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


def test_what_children_tell_and_are_told(store_url: str, tmp_path: Path) -> None:
    engine = Engine(store_url, 10_000)
    activities = [
        children.tells, children.silent_once, children.asks, children.until_told,
        children.leaves_a_thread, children.late_errors,
    ]  # fmt: skip
    flows = [children.told_by_children, children.stopped]
    worker = engine.work(flows, activities, executor="process", activity_slots=1)
    try:
        handle = engine.start(children.told_by_children, str(tmp_path))
        token = tmp_path / "token"
        until(token.exists, "the last activity asks", timeout=30)
        until(lambda: [task.awaits for task in tasks_of(engine, handle)] == [True])
        assert worker.stats()["activities_running"] == 0
        engine.client.complete(token.read_text(), "from outside")
        told, silent, left, late, asked = handle.result(timeout=20)
        assert told == [3, [2, True]]
        assert silent == "before the silence"
        assert left is True
        assert late == ["this attempt of the activity has ended"]
        assert asked == "from outside"
        killed = int((tmp_path / "silent").read_text())
        until(lambda: _gone(killed), "the silent child is killed")
    finally:
        engine.stop()
        engine.client.close()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_retry_keeps_the_key(store_url: str, tmp_path: Path, executor: str) -> None:
    engine = Engine(store_url, 10_000)
    engine.work([children.keeps_its_key], [children.keyed], executor=executor, activity_slots=1)
    try:
        handle = engine.start(children.keeps_its_key, str(tmp_path))
        with pytest.raises(WorkflowError, match="broken"):
            handle.result(timeout=30)
        (tmp_path / "repaired").touch()
        handle.retry()
        key = handle.result(timeout=30)
        assert (tmp_path / "keys").read_text().splitlines() == [key, key]
    finally:
        engine.stop()
        engine.client.close()


def test_children_learn_of_a_cancel(store_url: str, tmp_path: Path) -> None:
    engine = Engine(store_url, 10_000)
    engine.work([children.stopped], [])
    engine.work([], [children.until_told], executor="process", activity_slots=2, lease=2)
    try:
        handle = engine.start(children.stopped, str(tmp_path))
        for way in (True, False):
            until((tmp_path / f"began-{way}").exists, "it has begun", timeout=30)
        handle.cancel()
        assert handle.result(timeout=20) == ["raised", "read"]
    finally:
        engine.stop()
        engine.client.close()
