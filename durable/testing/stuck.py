"""Why a workflow does not go on: what each of its coroutines waits for, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable.interpreter import DEFAULT_LIMITS
from durable.runner.held import revive
from durable.store import Filter

if TYPE_CHECKING:
    from durable.testing.driver import Driver

__all__ = ["explained"]


def explained(driver: Driver, id: str) -> str:
    """What an instance waits for that nothing will bring."""
    instance = driver.store.instance(id)
    assert instance is not None
    definition = driver.registry.workflow(instance.workflow, instance.version)
    if definition is None:
        return f"{id} waits: there is no code for workflow {instance.workflow} in this test"
    [history] = driver.store.history([(instance.uid, instance.run)])
    interpreter = revive(
        instance, len(history), definition, history, driver.codec, driver.store.secret,
        driver.propagators, DEFAULT_LIMITS,
    )  # fmt: skip
    lines = [f"{id} is {instance.status}, and nothing will wake it:"]
    lines += [f"  {c.name} waits for {c.last!r} at {c.line()}" for c in interpreter.coroutines]
    interpreter.close()
    known = driver.registry.activities
    for task in driver.store.tasks(instance.uid):
        if task.name not in known:
            lines.append(f"  {task.name} has no code here, and no mock: activities=[…] or env.mock")
    for child in driver.store.instances(Filter(parent=instance.uid, limit=100)).rows:
        if not child.status.finished:
            lines.append(f"  child {explained(driver, child.id)}")
    return "\n".join(lines)
