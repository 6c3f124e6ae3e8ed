"""Finding instances: by their parents, tags and ids."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, until

from durable import Status, Workflow, gather, wait_signal, workflow
from durable.errors import InstanceNotFound


@workflow
def leaf(name: str) -> Workflow[str]:
    yield wait_signal("go")
    return name


@workflow
def branch(name: str) -> Workflow[str]:
    return (yield from leaf.options(id=f"{name}-leaf").call(name))


@workflow
def root() -> Workflow[list[Any]]:
    return (yield from gather(*[branch.options(id=f"b{n}").call(f"b{n}") for n in range(3)]))


def test_children_are_found_by_their_parent(engine: Engine) -> None:
    engine.work([leaf, branch, root])
    handle = engine.start(root.options(id="root"))
    until(lambda: engine.client.count() == 7)
    client = engine.client
    assert [row.id for row in client.list(parent="root").rows] == ["b2", "b1", "b0"]
    assert [row.parent for row in client.list(parent="root").rows] == ["root"] * 3
    assert client.count(parent="root") == 3
    assert client.count(parent="root", search="b1") == 1
    assert client.count(parent="root", workflow="leaf") == 0
    page = client.list(parent="root", limit=2)
    assert [row.id for row in client.list(parent="root", cursor=page.cursor).rows] == ["b0"]
    assert [child.id for child in handle.children()] == ["b0", "b1", "b2"]
    (grandchild,) = handle.children()[1].children()
    assert grandchild.id == "b1-leaf"
    assert grandchild.children() == []
    assert client.list(parent="b1-leaf").rows == []
    with pytest.raises(InstanceNotFound, match="nobody"):
        client.list(parent="nobody")
    for number in range(3):
        client.signal(f"b{number}-leaf", "go")
    assert handle.result(timeout=20) == ["b0", "b1", "b2"]
    assert [child.status() for child in handle.children()] == [Status.COMPLETED] * 3


def test_a_child_shows_who_started_it(engine: Engine) -> None:
    engine.work([leaf, branch])
    handle = engine.start(branch.options(id="b"), "b")
    until(handle.children)
    (child,) = handle.children()
    until(lambda: child.history())
    shown = child.describe()
    assert shown["parent"] == {"id": "b", "run": 1, "command": 0, "close": "cancel"}
    assert handle.describe()["parent"] is None
    assert engine.client.list(search="b-").rows[0].parent == "b"
    assert engine.client.list(workflow="branch").rows[0].parent is None
