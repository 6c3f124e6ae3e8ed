import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from durable import Workflow, activity, sleep, workflow


T = TypeVar("T")


@activity
def mail(name: str) -> None: ...


@dataclass
class State:
    root: Path
    seen: set[str] = field(default_factory=set)
    names: "frozenset[str]" = frozenset()
    first: "State | None" = None


class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: set[T] = set()

    def pop(self) -> T:
        return self.items.pop()  # expect: DUR110 the order of self.items

    def show(self) -> None:
        print(self.items)  # expect: DUR105 print()


class Steps:
    def __init__(self, root: Path) -> None:
        self.waiting = {"a", "b"}
        self.log = logging.getLogger("steps")
        self.state = State(root)
        self.file: Path = root / "a"

    def all(self) -> Workflow[None]:
        for name in self.waiting:  # expect: DUR110 the order of self.waiting
            yield mail.call(name)
        self.log.info("done")  # expect: DUR105 logging.getLogger().info()
        self.file.touch()  # expect: DUR104 pathlib.Path().touch()


@workflow
def flow(state: State, given: Stack[str]) -> Workflow[str]:
    steps = Steps(state.root)
    stack = Stack[int]()
    yield sleep(stack.pop())
    given.show()
    yield from steps.all()
    for name in state.seen | state.names:  # expect: DUR110 the order of state.seen | state.names
        yield mail.call(name)
    for name in steps.state.seen:  # expect: DUR110 the order of steps.state.seen
        yield mail.call(name)
    for name in state.first.seen if state.first else ():  # expect: DUR110 state.first.seen
        yield sleep(len(name))
    return state.root.read_text()  # expect: DUR104 pathlib.Path().read_text()
