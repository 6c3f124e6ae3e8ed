"""Why a workflow does not go on: what each of its coroutines waits for, and where."""

from __future__ import annotations

from durable.client import Client
from durable.registry import Registry

__all__ = ["explained"]


def explained(client: Client, known: Registry, id: str) -> str:
    """What an instance waits for that nothing will bring. known: all code of this test."""
    handle = client.get(id)
    told = handle.describe()
    if told["workflow"] not in known.workflows:
        return f"{id} waits: there is no code for workflow {told['workflow']} in this test"
    lines = ["nothing will wake it:", str(handle.where())]
    lines += [
        f"{name} has no code here, and no mock: activities=[…] or env.mock(…)"
        for name in sorted({task["name"] for task in told["tasks"]} - known.activities.keys())
    ]
    for child in handle.children():
        if not child.status().finished:
            lines += ["", f"its child {child.id}: {explained(client, known, child.id)}"]
    return "\n".join(lines)
