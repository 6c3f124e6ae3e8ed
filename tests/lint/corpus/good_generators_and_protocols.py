from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from durable import Command, Task, Workflow, activity, gather, race, sleep, spawn, wait_signal, workflow

Part: TypeAlias = Generator[Command[Any], Any, Any]


@runtime_checkable
class Plugin(Protocol):
    def before(self, name: str) -> Workflow[None]: ...

    def commands(self) -> Iterator[Command[str]]: ...


@activity
def run(name: str) -> str: ...


class Quiet:
    def before(self, name: str) -> Workflow[None]:
        yield from ()

    def commands(self) -> Iterator[Command[str]]:
        yield run.call("quiet")
        for n in range(3):
            yield run.call(str(n))

    def names(self) -> Iterator[str]:
        yield "a"
        yield "b"


def numbers(limit: int) -> Iterator[int]:
    n = 0
    while True:
        n += 1
        if n > limit:
            return
        yield n


def tree(depth: int) -> Iterator[int]:
    if depth:
        yield depth
        yield from tree(depth - 1)


def throttled(parts: Iterable[Part], width: int) -> Workflow[list[Any]]:
    waiting = list(parts)
    running: list[Task[Any]] = []
    results = []
    while waiting or running:
        while waiting and len(running) < width:
            running.append(spawn(waiting.pop(0)))
        first = yield race(*running)
        results.append(first.value)
        del running[first.index]
    return results


def one(name: str) -> Part:
    yield sleep(1)
    return (yield run.call(name))


@workflow
def flow(names: list[str], plugin: Plugin | None = None) -> Workflow[list[Any]]:
    quiet = Quiet()
    yield from quiet.before("flow")
    if plugin is not None:
        yield from plugin.before("flow")
    total = sum(numbers(5)) + sum(tree(3))
    for n in numbers(3):
        yield sleep(n)
    texts = yield gather(*quiet.commands())
    for command in quiet.commands():
        texts.append((yield command))
    results = yield from throttled((one(name) for name in names), 2)
    results += yield from throttled([one(name) for name in quiet.names()], 2)
    parts = [one(name) for name in names]
    tasks = [spawn(part) for part in parts]
    later = one("later")
    task = spawn(later)
    results += yield gather(task, *tasks)
    part = one("a") if names else one("b")
    results.append((yield from part))
    results.append((yield from wait_signal("x", type=str)))
    by_name = {name: spawn(one(name)) for name in names}
    results.append((yield race(**by_name)))
    return [total, texts, *results]
