"""Why a workflow does not go on: what each of its coroutines waits for, and where."""

from __future__ import annotations

from durable.client import Client

__all__ = ["explained"]


def explained(client: Client, id: str) -> str:
    """What an instance waits for that nothing will bring."""
    handle = client.get(id)
    lines = ["nothing will wake it:", str(handle.where())]
    for child in handle.children():
        if not child.status().finished:
            lines += ["", f"its child {child.id}: {explained(client, child.id)}"]
    return "\n".join(lines)
