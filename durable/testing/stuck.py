"""Why a workflow does not go on: what each of its coroutines waits for, and where."""

from __future__ import annotations

from durable.client import Client
from durable.interpreter import not_yielded
from durable.testing.driver import Driver

__all__ = ["explained"]


def explained(client: Client, driver: Driver, id: str) -> str:
    """What an instance waits for that nothing will bring; and what it was perhaps meant to do."""
    return f"nothing will wake it:\n{_place(client, driver, id)}"


def _place(client: Client, driver: Driver, id: str) -> str:
    handle = client.get(id)
    lines = [str(handle.where()), *_forgotten(driver, id)]
    for child in handle.children():
        if not child.status().finished:
            lines += ["", f"its child {_place(client, driver, child.id)}"]
    return "\n".join(lines)


def _forgotten(driver: Driver, id: str) -> list[str]:
    """Commands that it has created and not yielded."""
    instance = driver.store.instance(id)
    interpreter = None if instance is None else driver.interpreter(instance.uid)
    rows = [] if interpreter is None else not_yielded(interpreter)
    lines = [f"  {text}, created at {filename}:{line}" for text, filename, line in rows]
    return ["", "never yielded so far:", *lines] if lines else []
